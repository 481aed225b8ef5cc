namespace BitmapLedger.Journal;

/// <summary>Where a journal lies and what it may take.</summary>
/// <param name="Directory">Its directory; made if missing.</param>
/// <param name="VolumeId">Whose writes it holds.</param>
/// <param name="QuotaBytes">Most bytes of segments; at least two segments are always allowed.</param>
/// <param name="MinLsn">LSNs go on above this, even if the journal was lost.</param>
/// <param name="Clock">Wall clock.</param>
/// <param name="SegmentBytes">Length of a segment: whole sectors, the header's and at least one of slots.</param>
public sealed record JournalOptions(
    string Directory,
    Guid VolumeId,
    long QuotaBytes,
    long MinLsn,
    TimeProvider Clock,
    int SegmentBytes = 16 << 20)
{
    /// <summary>Default of <see cref="QuotaBytes"/>: at 64 bytes a write, 67 million writes without
    /// PostgreSQL.</summary>
    public const long QuotaBytesDefault = 4L << 30;
}
