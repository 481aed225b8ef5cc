using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Domain.Queries;

/// <summary>What changed after one position, up to and including another. One thread; the creator disposes.</summary>
/// <param name="changed">The map that is marked; taken over. What was written behind its end is left out.</param>
/// <param name="from">Where it begins.</param>
/// <param name="to">Where it ends.</param>
public sealed class ChangeFold(NativeBitmap changed, Position from, Position to) : IDisposable
{
    private readonly List<Gap> _gaps = [];

    /// <summary>Begins with a map of its own.</summary>
    /// <param name="size">Size of the volume in bytes at <paramref name="to"/>; what was behind it is left out.</param>
    /// <param name="granularity">Bytes to which changes are rounded outward.</param>
    /// <param name="from">Where it begins.</param>
    /// <param name="to">Where it ends.</param>
    public ChangeFold(long size, Granularity granularity, Position from, Position to)
        : this(NativeBitmap.ForAnAnswer(size, granularity), from, to)
    {
    }

    /// <summary>The blocks that changed.</summary>
    public NativeBitmap Changed => changed;

    /// <summary>Where writes may have gone unrecorded.</summary>
    public IReadOnlyList<Gap> Gaps => _gaps;

    /// <summary>False when more may be in <see cref="Changed"/> than was written.</summary>
    public bool IsExact { get; private set; } = true;

    /// <summary>Takes in one event; those outside the range change nothing. The order does not matter.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number.</param>
    public void Apply(IVolumeEvent happened, long number)
    {
        if (happened is WritesRecorded writes)
            Mark(writes);
        else if (happened is HistoryCoalesced coalesced)
            Mark(coalesced);
        else if (number > from.Event && number <= to.Event)
            Mark(happened);
    }

    /// <inheritdoc />
    public void Dispose() => Changed.Dispose();

    private void Mark(WritesRecorded writes)
    {
        if (writes.Packed.LastLsn <= from.Lsn || writes.Packed.FirstLsn > to.Lsn)
            return;
        if (writes.Packed.FirstLsn > from.Lsn && writes.Packed.LastLsn <= to.Lsn)
        {
            _ = PackedScan.TryMark(writes.Packed.Bytes.Span, Changed);
            return;
        }

        foreach (var write in writes.Packed)
        {
            if (write.Lsn > to.Lsn)
                return;
            if (write.Lsn > from.Lsn)
                Mark(write.Offset, write.End);
        }
    }

    /// <summary>All of it, when any of it is in the range: which of the blocks were touched when is not known.</summary>
    private void Mark(HistoryCoalesced happened)
    {
        var (coalesced, span) = (happened.Coalesced, happened.Coalesced.Span);
        if (span.LastLsn <= from.Lsn || span.FirstLsn > to.Lsn)
            return;
        coalesced.Mark(Changed);
        var whole = span.FirstLsn > from.Lsn && span.LastLsn <= to.Lsn;
        if (!whole || coalesced.IsGone)
            _gaps.Add(happened.Gap);
        // Blocks that reach over the end of a volume that was larger then say of it what may be true only of what is cut off.
        var size = Changed.VolumeBytes;
        var cut = coalesced.VolumeBytes > size && size % coalesced.Granularity.Bytes != 0
            && coalesced.Touches(size & -coalesced.Granularity.Bytes, size);
        IsExact &= whole && !coalesced.IsGone && !cut && coalesced.Granularity <= Changed.Granularity;
    }

    private void Mark(IVolumeEvent happened)
    {
        switch (happened)
        {
            case TrackingLost lost:
                _gaps.Add(new(lost.FromLsn, lost.ToLsn, lost.Why));
                Changed.MarkAll();
                IsExact = false;
                break;
            case WritesRecovered recovered:
                recovered.Mark(Changed);
                IsExact = false;
                break;
            case VolumeResized resized when resized.Size < resized.SizeBefore:
                // Whoever grows it again finds zeroes there.
                Mark(resized.Size, resized.SizeBefore);
                break;
        }
    }

    private void Mark(long offset, long end)
    {
        if (offset < Changed.VolumeBytes)
            Changed.MarkDirty(offset, Math.Min(end, Changed.VolumeBytes) - offset);
    }
}
