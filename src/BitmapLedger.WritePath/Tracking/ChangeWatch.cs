using BitmapLedger.Bitmaps;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>
/// What is written to a volume from a cut on, for as long as somebody wants to know: a part of what <see cref="BitmapTable"/>
/// keeps anyway, and what went out of that since. Writers do not know of it. Under the lock of its table.
/// </summary>
internal sealed class ChangeWatch(long cut, long lsn, NativeBitmap folded) : IDisposable
{
    /// <summary>Number of the last map that was swapped out before it began: those behind it, and the live one, are seen.</summary>
    public long Cut { get; } = cut;

    /// <summary>No write up to this one is seen by reason of the watch; every later one is.</summary>
    public long Lsn { get; } = lsn;

    /// <summary>Maps that it saw and that are folded into bitmaps.</summary>
    public NativeBitmap Folded { get; private set; } = folded;

    /// <summary>A map goes.</summary>
    public void Fold(NativeBitmap map)
    {
        foreach (var extent in map.Extents())
            Folded.MarkDirty(extent.Offset, extent.Length);
    }

    /// <summary>The volume gets another size. What is cut off counts as changed, as in the ledger: whoever grows it again finds
    /// zeroes there.</summary>
    public void Resize(long before, long bytes)
    {
        if (bytes < before)
            Folded.MarkDirty(bytes, before - bytes);
        else if (bytes > Folded.VolumeBytes)
            Grow(bytes);
    }

    public void Dispose() => Folded.Dispose();

    private void Grow(long bytes)
    {
        var larger = Folded.Resized(bytes);
        Folded.Dispose();
        Folded = larger;
    }
}
