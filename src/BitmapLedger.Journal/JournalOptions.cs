namespace BitmapLedger.Journal;

/// <summary>What a journal must outlive.</summary>
public enum JournalDurability
{
    /// <summary>The end of any process: what the kernel has is enough.</summary>
    Process,

    /// <summary>A power loss too.</summary>
    Power,
}

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

    /// <summary>What the journal must outlive.</summary>
    public JournalDurability Durability { get; init; } = JournalDurability.Process;

    /// <summary>Size of the volume; bounds what a recovery may have to mark.</summary>
    public long VolumeBytes { get; init; } = long.MaxValue;

    /// <summary>The data as it is now, before anything is written.</summary>
    public FileIdentity Identity { get; init; }

    /// <summary>The data that the writes go to; null where there is none.</summary>
    public IVolumeData? Data { get; init; }

    /// <summary>Which boot of the machine this is.</summary>
    public string BootId { get; init; } = Journal.BootId.OfMachine();

    /// <summary>On which mounting of their file systems journal and data are, as <see cref="MountInstance"/> says; 0 when
    /// nobody knows.</summary>
    public long Mounts { get; init; }

    /// <summary>Where the files are.</summary>
    public IJournalDisk Disk { get; init; } = PosixDisk.Instance;

    /// <summary>Bytes of a region of the activity log, a power of two.</summary>
    public long RegionBytes { get; init; } = 8 << 20;

    /// <summary>Most regions that stand in the activity log at once: times <see cref="RegionBytes"/> it bounds what
    /// a power loss marks beyond what was written.</summary>
    public int RegionsMax { get; init; } = 1008;

    /// <summary>How far ahead of need the LSN ceiling is made durable.</summary>
    public long LsnsAhead { get; init; } = 1 << 20;

    /// <summary>Whether the next segment is prepared on a thread of its own, so that a request rarely waits for
    /// it.</summary>
    public bool PreparesAhead { get; init; } = true;
}
