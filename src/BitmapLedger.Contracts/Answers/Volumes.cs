namespace BitmapLedger.Contracts.Answers;

/// <summary>LSNs of a volume.</summary>
/// <param name="Last">Last one given to a write.</param>
/// <param name="Shipped">Last one in the ledger.</param>
public sealed record VolumeLsn(long Last, long Shipped);

/// <summary>A bitmap without its bits.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Recording">Whether writes mark it.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
/// <param name="Busy">Whether a job uses it, or a block export shows it.</param>
/// <param name="Inconsistent">Whether its bits cannot be relied on.</param>
/// <param name="Retention">Most slices that it keeps; null when none.</param>
/// <param name="Overflow">What happens when there is no room for another: <c>fail</c> or <c>cycle</c>; null when it keeps
/// none.</param>
/// <param name="Slices">How many it has; null when it keeps none.</param>
public sealed record BitmapSummary(
    string Name, long Granularity, bool Recording, bool Persistent, bool Busy, bool Inconsistent, long? Retention = null,
    string? Overflow = null, int? Slices = null);

/// <summary>A checkpoint.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parent">The checkpoint before it, or null.</param>
/// <param name="At">Where it stands.</param>
/// <param name="Count">Bytes that changed since, in whole blocks of 64 KiB; null where nobody counted.</param>
/// <param name="Exact">False when that may be more than what changed; else null.</param>
public sealed record CheckpointAnswer(string Name, string? Parent, PositionAnswer At, long? Count = null, bool? Exact = null);

/// <summary>A volume.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Size">Its size in bytes.</param>
/// <param name="Backend">Where its data is, e.g. <c>file:/path</c>.</param>
/// <param name="Export">NBD URI of its export.</param>
/// <param name="State"><c>serving</c>, or <c>away</c> while the Agent is.</param>
/// <param name="Durability"><c>process</c> or <c>power</c>.</param>
/// <param name="WhenFull"><c>stall</c> or <c>fail</c>.</param>
/// <param name="ReadOnly">Whether writes are refused.</param>
/// <param name="Lsn">Its LSNs.</param>
/// <param name="UnshippedBytes">Journal bytes that the ledger has not got.</param>
/// <param name="LongestRotationMicroseconds">Longest time that a command held up writers.</param>
/// <param name="Bitmaps">In QEMU's order: newest first, those of earlier runs of the Agent behind them, each oldest first.</param>
/// <param name="Checkpoints">Oldest first.</param>
/// <param name="Event">Number of its last event.</param>
public sealed record VolumeAnswer(
    string Name, long Size, string Backend, string? Export, string State, string Durability, string WhenFull, bool ReadOnly,
    VolumeLsn Lsn, long UnshippedBytes, long LongestRotationMicroseconds, IReadOnlyList<BitmapSummary> Bitmaps,
    IReadOnlyList<CheckpointAnswer> Checkpoints, long Event);

/// <summary>Volumes.</summary>
/// <param name="Volumes">By name.</param>
/// <param name="Next">When there are more: the name to send as <c>after</c> for them.</param>
public sealed record VolumesAnswer(IReadOnlyList<VolumeAnswer> Volumes, string? Next = null);

/// <summary>Bitmaps.</summary>
/// <param name="Bitmaps">In QEMU's order: newest first, those of earlier runs of the Agent behind them, each oldest first.</param>
/// <param name="Next">When there are more: the name to send as <c>after</c> for them.</param>
public sealed record BitmapsAnswer(IReadOnlyList<BitmapAnswer> Bitmaps, string? Next = null);

/// <summary>Checkpoints.</summary>
/// <param name="Checkpoints">Oldest first.</param>
/// <param name="Next">When there are more: the name to send as <c>after</c> for them.</param>
public sealed record CheckpointsAnswer(IReadOnlyList<CheckpointAnswer> Checkpoints, string? Next = null);

/// <summary>What a command did.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Event">The event it appended.</param>
/// <param name="Lsn">The write it stands after.</param>
/// <param name="Time">When.</param>
public sealed record CommandAnswer(string Volume, long Event, long Lsn, string Time)
{
    /// <summary>Slices that it banked; null when none.</summary>
    public IReadOnlyList<SliceId>? Slices { get; init; }

    /// <summary>Slices that went to make room; null when none.</summary>
    public IReadOnlyList<SliceId>? DroppedSlices { get; init; }

    /// <summary>What became of the history; null when it was not retained.</summary>
    public RetainedHistory? Retained { get; init; }
}

/// <summary>What retention makes of a history.</summary>
/// <param name="ExactFrom">From here on every single write is known; null when that is all of it.</param>
/// <param name="KeptFrom">Points before this can be asked about no more, but for checkpoints and slices; null when all can
/// be.</param>
/// <param name="Writes">Single writes that are coalesced or forgotten.</param>
/// <param name="EventsBefore">Events that are replaced.</param>
/// <param name="EventsAfter">Events that stand for them.</param>
/// <param name="BytesBefore">Bytes of the data of those that are replaced; rows and indexes take some more.</param>
/// <param name="BytesAfter">Bytes of the data of those that stand for them.</param>
public sealed record RetainedHistory(
    PositionAnswer? ExactFrom, PositionAnswer? KeptFrom, long Writes, long EventsBefore, long EventsAfter, long BytesBefore,
    long BytesAfter);

/// <summary>What retention of a history did, or would do.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="DryRun">Whether nothing was done.</param>
/// <param name="Event">The event that was appended; the last one there is when nothing was to be done.</param>
/// <param name="Lsn">The write it stands after.</param>
/// <param name="Time">When.</param>
/// <param name="History">What becomes of the history.</param>
public sealed record RetainAnswer(string Volume, bool DryRun, long Event, long Lsn, string Time, RetainedHistory History);

/// <summary>Which slice.</summary>
/// <param name="Bitmap">Its bitmap.</param>
/// <param name="Slice">Its number.</param>
public sealed record SliceId(string Bitmap, long Slice);

/// <summary>A slice was banked.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Event">The event that was appended.</param>
/// <param name="Lsn">The write it stands after.</param>
/// <param name="Time">When.</param>
/// <param name="Slice">Number of the slice.</param>
/// <param name="DroppedSlices">Slices that went to make room.</param>
public sealed record BankAnswer(
    string Volume, long Event, long Lsn, string Time, long Slice, IReadOnlyList<SliceId> DroppedSlices);

/// <summary>A slice of a bitmap.</summary>
/// <param name="Slice">Its number.</param>
/// <param name="Count">Dirty bytes as QEMU counts them.</param>
/// <param name="Sha256">Digest as QEMU computes it.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where it was banked.</param>
/// <param name="Cause"><c>backup</c> or <c>manual</c>.</param>
public sealed record SliceAnswer(
    long Slice, long Count, string Sha256, PositionAnswer From, PositionAnswer To, string Cause);

/// <summary>Slices.</summary>
/// <param name="Slices">Oldest first.</param>
/// <param name="Next">When there are more: the number to send as <c>after</c> for them.</param>
public sealed record SlicesAnswer(IReadOnlyList<SliceAnswer> Slices, string? Next = null);

/// <summary>What a command over several volumes did.</summary>
/// <param name="Volumes">Each of them.</param>
public sealed record CommandsAnswer(IReadOnlyList<CommandAnswer> Volumes);

/// <summary>A stretch of a journal that could not be read.</summary>
/// <param name="File">The segment, or the file that says how the journal stands: then no record is missing, and every block counts
/// as written all the same.</param>
/// <param name="Byte">Where the damage starts in it.</param>
/// <param name="Fault">What is wrong, in words.</param>
/// <param name="FromLsn">LSN after which writes are missing.</param>
/// <param name="ToLsn">LSN up to which they are; null when nothing could be read behind it.</param>
public sealed record RepairedGap(string File, long Byte, string Fault, long FromLsn, long? ToLsn);

/// <summary>What a repair did.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Repaired">False when its journal is whole, and nothing was done.</param>
/// <param name="Damage">Every damaged stretch.</param>
/// <param name="Event">The last event of the volume now.</param>
/// <param name="Lsn">LSN that the new journal goes on after.</param>
/// <param name="SetAside">Where the damaged journal lies now; null when nothing was done.</param>
public sealed record RepairAnswer(
    string Volume, bool Repaired, IReadOnlyList<RepairedGap> Damage, long Event, long Lsn, string? SetAside);

/// <summary>The schema of the database.</summary>
/// <param name="Version">Version found; 0 when there is none.</param>
/// <param name="Expected">Version this program needs.</param>
/// <param name="Current">Whether nothing is to be done.</param>
public sealed record SchemaAnswer(int Version, int Expected, bool Current);

/// <summary>Whether the server is ready, and where.</summary>
/// <param name="Status"><c>ready</c> or why not.</param>
/// <param name="Http">Address of HTTP over TCP.</param>
/// <param name="Nbd">NBD URIs.</param>
public sealed record ReadyAnswer(string Status, string? Http, IReadOnlyList<string> Nbd)
{
    /// <summary>How <see cref="Status"/> begins while PostgreSQL is away.</summary>
    public const string WaitingForPostgres = "waiting for PostgreSQL";

    /// <summary>Path of the QMP socket.</summary>
    public string? Qmp { get; init; }
}

/// <summary>Versions of the programs.</summary>
/// <param name="Version">Of all of them: they are released together.</param>
public sealed record VersionAnswer(string Version);
