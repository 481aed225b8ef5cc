namespace BitmapLedger.Domain.Volumes;

/// <summary>A bitmap as decisions need it: without its bits.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Recording">Whether writes mark it.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
public sealed record BitmapState(string Name, long Granularity, bool Recording, bool Persistent);

/// <summary>A checkpoint.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Event">The event that made it.</param>
/// <param name="Lsn">LSN it stands after.</param>
/// <param name="Time">When it was made.</param>
public sealed record CheckpointState(string Name, long Event, long Lsn, DateTimeOffset Time);

/// <summary>What decisions about a volume need to know, and no more: no bits. A fold of its events, stored inline.</summary>
public sealed record VolumeState
{
    /// <summary>Id of the volume and of its stream.</summary>
    public Guid Id { get; init; }

    /// <summary>Its name.</summary>
    public string Name { get; init; } = "";

    /// <summary>Its size in bytes.</summary>
    public long Size { get; init; }

    /// <summary>Where its data is, as the user wrote it.</summary>
    public string Backend { get; init; } = "";

    /// <summary>Absolute path of the file or device.</summary>
    public string File { get; init; } = "";

    /// <summary>Whether writes are refused.</summary>
    public bool ReadOnly { get; init; }

    /// <summary><c>process</c> or <c>power</c>.</summary>
    public string Durability { get; init; } = "";

    /// <summary><c>stall</c> or <c>fail</c>.</summary>
    public string WhenFull { get; init; } = "";

    /// <summary>Whether it went out of watch.</summary>
    public bool Removed { get; init; }

    /// <summary>Number of its last event.</summary>
    public long Event { get; init; }

    /// <summary>LSN of the last write in the ledger.</summary>
    public long LastLsn { get; init; }

    /// <summary>When it was created.</summary>
    public DateTimeOffset Created { get; init; }

    /// <summary>Newest first, as QEMU lists them.</summary>
    public IReadOnlyList<BitmapState> Bitmaps { get; init; } = [];

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<CheckpointState> Checkpoints { get; init; } = [];

    /// <summary>The bitmap of a name, or null.</summary>
    public BitmapState? Bitmap(string name) => Bitmaps.FirstOrDefault(b => b.Name == name);

    /// <summary>The checkpoint of a name, or null.</summary>
    public CheckpointState? Checkpoint(string name) => Checkpoints.FirstOrDefault(c => c.Name == name);

    /// <summary>The state after one more event.</summary>
    /// <param name="volumeEvent">What happened.</param>
    /// <param name="number">Number of the event.</param>
    /// <param name="time">When.</param>
    public VolumeState Apply(IVolumeEvent volumeEvent, long number, DateTimeOffset time) =>
        volumeEvent switch
        {
            VolumeCreated e => this with
            {
                Name = e.Name,
                Size = e.Size,
                Backend = e.Backend,
                File = e.File,
                ReadOnly = e.ReadOnly,
                Durability = e.Durability,
                WhenFull = e.WhenFull,
                Created = time,
            },
            VolumeRemoved => this with { Removed = true },
            WritesRecorded e => this with { LastLsn = e.Packed.LastLsn },
            TrackingLost e => this with { LastLsn = Math.Max(LastLsn, e.ToLsn) },
            BitmapAdded e => this with { Bitmaps = [new(e.Name, e.Granularity, !e.Disabled, e.Persistent), .. Bitmaps] },
            BitmapRemoved e => this with { Bitmaps = [.. Bitmaps.Where(b => b.Name != e.Name)] },
            BitmapEnabled e => Record(e.Name, true),
            BitmapDisabled e => Record(e.Name, false),
            CheckpointCreated e => this with { Checkpoints = [.. Checkpoints, new(e.Name, number, e.AtLsn, time)] },
            CheckpointRemoved e => this with { Checkpoints = [.. Checkpoints.Where(c => c.Name != e.Name)] },
            _ => this,
        } with
        { Event = number };

    private VolumeState Record(string name, bool recording) =>
        this with { Bitmaps = [.. Bitmaps.Select(b => b.Name == name ? b with { Recording = recording } : b)] };
}
