using BitmapLedger.Bitmaps;
using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>What the ledger said of the past when the context was negotiated, and what a watch has seen since: flag 1 is changed.
/// Where the volume is larger now than then, what lies behind its end is clean. One thread.</summary>
/// <param name="name">Its name.</param>
/// <param name="volume">The volume.</param>
/// <param name="past">What the ledger said; taken over.</param>
/// <param name="watch">Sees what is written since; null where the range has ended. Taken over.</param>
/// <param name="onGone">Called when it is disposed of.</param>
internal sealed class LedgerContext(
    string name, TrackedVolume volume, NativeBitmap past, ChangeWatch? watch, Action onGone) : IMetaContext, IDisposable
{
    private bool _isGone;

    public string Name => name;

    public bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target)
    {
        for (var at = offset; at < offset + length && StatusExtents.HasRoom(target, extentsMax);)
        {
            var changed = IsChanged(at, offset + length, out var until);
            StatusExtents.Append(target, until - at, changed ? 1u : 0);
            at = until;
        }

        return StatusExtents.Trim(target, extentsMax);
    }

    public void Dispose()
    {
        if (_isGone)
            return;
        _isGone = true;
        if (watch is not null)
            volume.Bitmaps.End(watch);
        past.Dispose();
        onGone();
    }

    private bool IsChanged(long offset, long end, out long until)
    {
        if (watch is not null)
            return volume.Bitmaps.IsChanged(watch, past, offset, end, out until);
        var alone = new DirtyUnion(offset, end, past.Granularity);
        alone.Add(past);
        return alone.IsDirty(out until);
    }
}
