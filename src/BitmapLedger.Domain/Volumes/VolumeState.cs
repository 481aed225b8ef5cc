using System.Text.Json.Serialization;
using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>A checkpoint.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Event">The event that made it.</param>
/// <param name="Lsn">LSN it stands after.</param>
/// <param name="Time">When it was made.</param>
public sealed record CheckpointState(string Name, long Event, long Lsn, DateTimeOffset Time);

/// <summary>A size that a volume got.</summary>
/// <param name="Event">The event that gave it.</param>
/// <param name="Size">Bytes.</param>
public sealed record SizeChange(long Event, long Size);

/// <summary>What decisions about a volume need to know, and no more: no bits. A fold of its events, stored inline.</summary>
public sealed record VolumeState
{
    /// <summary>Id of the volume and of its stream.</summary>
    public Guid Id { get; init; }

    /// <summary>Its name.</summary>
    public string Name { get; init; } = "";

    /// <summary>Its size in bytes.</summary>
    public long Size { get; init; }

    /// <summary>Each size it had, oldest first: <see cref="SizeAt"/>.</summary>
    public IReadOnlyList<SizeChange> Sizes { get; init; } = [];

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

    /// <summary>Those that are known here, oldest first: all of them where the state is folded from the first event. They
    /// are not stored with it, or each command and each block of writes would carry all of them along.</summary>
    [JsonIgnore]
    public IReadOnlyList<CheckpointState> Checkpoints { get; init; } = [];

    /// <summary>How many there are, known here or not.</summary>
    public int CheckpointCount { get; init; }

    /// <summary>Backup jobs that run.</summary>
    public IReadOnlyList<BackupState> Backups { get; init; } = [];

    /// <summary>How far its history was coalesced; null when it never was.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RetentionState? Retained { get; init; }

    /// <summary>The bitmap of a name, or null.</summary>
    public BitmapState? Bitmap(string name) => Bitmaps.FirstOrDefault(b => b.Name == name);

    /// <summary>The checkpoint of a name, or null.</summary>
    public CheckpointState? Checkpoint(string name) => Checkpoints.FirstOrDefault(c => c.Name == name);

    /// <summary>Its size in bytes behind an event.</summary>
    public long SizeAt(long number) => Sizes.LastOrDefault(s => s.Event <= number)?.Size ?? Size;

    /// <summary>The backup job of an id, or null.</summary>
    public BackupState? Backup(string job) => Backups.FirstOrDefault(b => b.Job == job);

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
                Sizes = [new(number, e.Size)],
                Backend = e.Backend,
                File = e.File,
                ReadOnly = e.ReadOnly,
                Durability = e.Durability,
                WhenFull = e.WhenFull,
                Created = time,
            },
            VolumeRemoved => this with { Removed = true },
            WritesRecorded e => this with { LastLsn = e.Packed.LastLsn },
            HistoryCoalesced e => this with { LastLsn = e.Coalesced.Span.LastLsn },
            HistoryRetained e => this with { Retained = RetentionState.After(Retained, e, number) },
            TrackingLost e => this with { LastLsn = Math.Max(LastLsn, e.ToLsn) },
            VolumeResized e => this with
            {
                Size = e.Size,
                Sizes = [.. Sizes, new(number, e.Size)],
                Bitmaps = BitmapFold.Apply(this, e, number, time),
            },
            BackupStarted e => this with
            {
                Bitmaps = BitmapFold.Apply(this, e, number, time),
                Backups = [.. Backups, BackupState.Of(e, new(number, e.AtLsn, time))],
            },
            IBackupEnded e => this with
            {
                Bitmaps = BitmapFold.Apply(this, e, number, time),
                Backups = [.. Backups.Where(b => b.Job != e.Job)],
            },
            CheckpointCreated e => this with
            {
                Checkpoints = [.. Checkpoints, new(e.Name, number, e.AtLsn, time)],
                CheckpointCount = CheckpointCount + 1,
            },
            CheckpointRemoved e => this with
            {
                Checkpoints = [.. Checkpoints.Where(c => c.Name != e.Name)],
                CheckpointCount = CheckpointCount - 1,
            },
            ICommandEvent e => this with { Bitmaps = BitmapFold.Apply(this, e, number, time) },
            _ => this,
        } with
        { Event = number };
}
