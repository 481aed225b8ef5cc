using BitmapLedger.Bitmaps;

namespace BitmapLedger.Domain.Queries;

/// <summary>What changed after one position, up to and including another. One thread; the creator disposes.</summary>
/// <param name="size">Size of the volume in bytes.</param>
/// <param name="granularity">Bytes to which changes are rounded outward.</param>
/// <param name="from">Where it begins.</param>
/// <param name="to">Where it ends.</param>
public sealed class ChangeFold(long size, Granularity granularity, Position from, Position to) : IDisposable
{
    private readonly List<Gap> _gaps = [];

    /// <summary>The blocks that changed.</summary>
    public NativeBitmap Changed { get; } = new(size, granularity);

    /// <summary>Where writes may have gone unrecorded.</summary>
    public IReadOnlyList<Gap> Gaps => _gaps;

    /// <summary>False when more may be in <see cref="Changed"/> than was written.</summary>
    public bool IsExact { get; private set; } = true;

    /// <summary>Takes in one event; those outside the range change nothing.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number.</param>
    public void Apply(IVolumeEvent happened, long number)
    {
        if (happened is TrackingLost lost && number > from.Event && number <= to.Event)
        {
            _gaps.Add(new(lost.FromLsn, lost.ToLsn, lost.Why));
            Changed.MarkAll();
            IsExact = false;
        }

        if (happened is WritesRecovered recovered && number > from.Event && number <= to.Event)
        {
            recovered.Mark(Changed);
            IsExact = false;
        }

        if (happened is not WritesRecorded writes || writes.Packed.LastLsn <= from.Lsn || writes.Packed.FirstLsn > to.Lsn)
            return;
        foreach (var write in writes.Packed)
        {
            if (write.Lsn > to.Lsn)
                return;
            if (write.Lsn > from.Lsn)
                Changed.MarkDirty(write.Offset, write.Length);
        }
    }

    /// <inheritdoc />
    public void Dispose() => Changed.Dispose();
}
