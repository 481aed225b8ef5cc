using System.Text.Json.Serialization;

namespace BitmapLedger.Domain;

/// <summary>
/// A backup job began: its bitmaps are frozen, and a successor of each, which is empty and records as the bitmap did, takes
/// the writes meanwhile. A job that only reads may find another one's successor and leaves it as it is.
/// </summary>
/// <param name="Job">Id of the job, unique among the running ones of the volume.</param>
/// <param name="Sync"><c>full</c>, <c>top</c>, <c>none</c>, <c>incremental</c>, <c>bitmap</c>, <c>differential</c> or
/// <c>partial</c>.</param>
/// <param name="Mode"><c>on-success</c>, <c>never</c> or <c>always</c>: what becomes of the bitmaps; null without
/// bitmaps.</param>
/// <param name="Bitmaps">The bitmaps it uses, by name.</param>
/// <param name="Slice">First slice that it copies, for <c>partial</c>.</param>
/// <param name="Banks">Slices that it will bank, when it succeeds: their room is reserved.</param>
/// <param name="Drops">Slices that will go for that.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BackupStarted(
    string Job,
    string Sync,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Mode,
    IReadOnlyList<string> Bitmaps,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Slice,
    IReadOnlyList<SliceName> Banks,
    IReadOnlyList<SliceName> Drops,
    long AtLsn) : ICommandEvent;

/// <summary>How a backup job ended.</summary>
public interface IBackupEnded : ICommandEvent
{
    /// <summary>Id of the job.</summary>
    string Job { get; }
}

/// <summary>
/// A backup job succeeded. Its bitmaps are their successors now (<c>on-success</c>, <c>always</c>), or themselves and their
/// successors (<c>never</c>).
/// </summary>
/// <param name="Job">Id of the job.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BackupCompleted(string Job, long AtLsn) : IBackupEnded;

/// <summary>
/// A backup job failed. Its bitmaps are themselves and their successors (<c>on-success</c>, <c>never</c>), or their
/// successors and what was not copied (<c>always</c>).
/// </summary>
/// <param name="Job">Id of the job.</param>
/// <param name="Why">What happened.</param>
/// <param name="Left">What was not copied, for the mode <c>always</c>; null when that is not
/// known, and then no bit of the bitmaps is taken for copied.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BackupFailed(
    string Job, string Why, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RestBits? Left, long AtLsn)
    : IBackupEnded;

/// <summary>A backup job was cancelled; the bitmaps fare as with <see cref="BackupFailed"/>.</summary>
/// <param name="Job">Id of the job.</param>
/// <param name="Left">As in <see cref="BackupFailed"/>.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BackupCancelled(
    string Job, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] RestBits? Left, long AtLsn)
    : IBackupEnded;

/// <summary>What a backup job has not copied.</summary>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Bits">The bits as <c>BitmapCodec</c> encodes them.</param>
public sealed record RestBits(long Granularity, byte[] Bits);
