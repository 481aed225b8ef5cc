using System.Text.Json.Serialization;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Contracts.Control;

/// <summary>What is answered over <c>run/control.sock</c>.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(Done), "done")]
[JsonDerivedType(typeof(Failed), "failed")]
[JsonDerivedType(typeof(Welcome), "welcome")]
[JsonDerivedType(typeof(Rotated), "rotated")]
[JsonDerivedType(typeof(Digests), "digests")]
[JsonDerivedType(typeof(BitsFile), "bits-file")]
[JsonDerivedType(typeof(LiveDigests), "live-digests")]
[JsonDerivedType(typeof(Durable), "durable")]
[JsonDerivedType(typeof(ExportList), "export-list")]
[JsonDerivedType(typeof(RangeNames), "range-names")]
public abstract record ControlReply;

/// <summary>It is done and there is nothing to say.</summary>
public sealed record Done : ControlReply;

/// <summary>It was not done, and nothing changed.</summary>
/// <param name="Code">Kebab-case code of spec/cli.md.</param>
/// <param name="Message">Names the thing, the value and the way out.</param>
public sealed record Failed(string Code, string Message) : ControlReply;

/// <summary>Answer to <see cref="Hello"/> and <see cref="Status"/>.</summary>
/// <param name="Protocol">Version of this protocol.</param>
/// <param name="ProcessId">The Agent's process id.</param>
/// <param name="Run">Id of this run of the Agent: transient bitmaps end when it changes.</param>
/// <param name="Listeners">NBD URIs it listens on, without an export name.</param>
/// <param name="Volumes">Every open volume that was asked for.</param>
/// <param name="Closed">Every volume that could not be opened.</param>
/// <param name="Exports">The block exports.</param>
public sealed record Welcome(
    int Protocol,
    int ProcessId,
    Guid Run,
    IReadOnlyList<string> Listeners,
    IReadOnlyList<VolumeStatus> Volumes,
    IReadOnlyList<ClosedVolume> Closed,
    ExportList Exports) : ControlReply;

/// <summary>A volume that could not be opened.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Code">Kebab-case code of spec/cli.md.</param>
/// <param name="Why">Names the thing, the value and the way out.</param>
public sealed record ClosedVolume(Guid Id, string Code, string Why);

/// <summary>How a volume is.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Name">Its name.</param>
/// <param name="Size">Its size in bytes.</param>
/// <param name="Published">Whether clients may connect.</param>
/// <param name="LastLsn">LSN of the last journaled write; 0 when none.</param>
/// <param name="OldestLsn">LSN of the oldest write that the journal still holds; <c>LastLsn + 1</c> when none.</param>
/// <param name="Fence">Number of the last fence; 0 when none.</param>
/// <param name="TimeMicroseconds">The volume's clock now, microseconds since the Unix epoch.</param>
/// <param name="Complete">Whether the Server has given the bitmaps since this Agent started, so that dirty contexts
/// are offered.</param>
/// <param name="JournalBytes">Bytes that its journal takes on disk.</param>
/// <param name="Connections">Clients connected now.</param>
/// <param name="Use">How much of the journal's quota is used, and by what.</param>
/// <param name="Rotations">How long rotations kept writers out.</param>
/// <param name="Lost">Why writes may have gone unrecorded since the ledger last heard, or null.</param>
/// <param name="DurableLsn">LSN up to which the journal is as durable as the volume wants it.</param>
/// <param name="Recovered">What may have been written, or may have reverted, without a record since the ledger last
/// heard.</param>
public sealed record VolumeStatus(
    Guid Id,
    string Name,
    long Size,
    bool Published,
    long LastLsn,
    long OldestLsn,
    long Fence,
    long TimeMicroseconds,
    bool Complete,
    long JournalBytes,
    int Connections,
    QuotaUse Use,
    RotationStalls Rotations,
    string? Lost,
    long DurableLsn,
    IReadOnlyList<RecoveredExtent> Recovered)
{
    /// <summary>Where that happened, the first and the last of it; empty when the Agent does not know.</summary>
    public IReadOnlyList<LossAt> Losses { get; init; } = [];
}

/// <summary>A place in the order of writes, with everything before it in doubt and nothing behind it.</summary>
/// <param name="Lsn">Behind this LSN.</param>
/// <param name="TimeMicroseconds">Microseconds since the Unix epoch, by the volume's clock.</param>
public sealed record LossAt(long Lsn, long TimeMicroseconds);

/// <summary>A stretch of a volume.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public sealed record RecoveredExtent(long Offset, long Length);

/// <summary>Answer to <see cref="MakeDurable"/>.</summary>
/// <param name="Lsn">LSN up to which every record is durable: those may be shipped.</param>
public sealed record Durable(long Lsn) : ControlReply;

/// <summary>What a journal holds that the ledger has not got.</summary>
/// <param name="UsedBytes">Bytes of records that are not freed yet; they are freed by whole segments.</param>
/// <param name="QuotaBytes">Most that they may take.</param>
/// <param name="WhenFull">What writes do at the quota: <c>stall</c> or <c>fail</c>.</param>
/// <param name="IsFull">Whether writes are held or refused now.</param>
/// <param name="ShippedLsn">Last LSN that the ledger said it has.</param>
/// <param name="WaitingSinceMicroseconds">Not after the oldest write that the ledger has not got, microseconds since the
/// Unix epoch; 0 when it has all.</param>
public sealed record QuotaUse(
    long UsedBytes, long QuotaBytes, string WhenFull, bool IsFull, long ShippedLsn, long WaitingSinceMicroseconds)
{
    /// <summary>Age of the oldest write that the ledger has not got, or a little more, in seconds; 0 when it has all.</summary>
    public double WaitingSeconds(DateTimeOffset now) => WaitingSinceMicroseconds == 0
        ? 0
        : Math.Max(0, (now - Timestamps.FromMicroseconds(WaitingSinceMicroseconds)).TotalSeconds);
}

/// <summary>How long rotations kept the gate closed since the Agent started, in microseconds.</summary>
/// <param name="Count">Rotations.</param>
/// <param name="MedianMicroseconds">Half of them took no longer.</param>
/// <param name="P99Microseconds">Nor did 99 of 100 take longer than this.</param>
/// <param name="LongestMicroseconds">The longest.</param>
public sealed record RotationStalls(long Count, long MedianMicroseconds, long P99Microseconds, long LongestMicroseconds);

/// <summary>Answer to <see cref="Rotate"/>, in the order asked.</summary>
/// <param name="Fences">One for each volume.</param>
public sealed record Rotated(IReadOnlyList<Fence> Fences) : ControlReply;

/// <summary>Where a rotation cut the writes of a volume: every LSN up to <see cref="Lsn"/> is before it, every later
/// one after it.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Number">Number of the fence, 1, 2, 3 … within the volume.</param>
/// <param name="Lsn">LSN of the last write before it.</param>
/// <param name="TimeMicroseconds">When, microseconds since the Unix epoch; not before any write up to
/// <see cref="Lsn"/>.</param>
public sealed record Fence(Guid Id, long Number, long Lsn, long TimeMicroseconds);

/// <summary>Answer to <see cref="Digest"/>.</summary>
/// <param name="Bitmaps">One for each bitmap, in table order.</param>
public sealed record Digests(IReadOnlyList<BitmapDigest> Bitmaps) : ControlReply;

/// <summary>Answer to <see cref="DigestLive"/>.</summary>
/// <param name="Volumes">Those that are open, in the order asked.</param>
/// <param name="Run">Id of this run of the Agent.</param>
/// <param name="Exports">The block exports: what they show is in use.</param>
public sealed record LiveDigests(IReadOnlyList<LiveVolume> Volumes, Guid Run, ExportList Exports) : ControlReply;

/// <summary>Bits of a volume's bitmaps.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Size">Size of the volume in bytes.</param>
/// <param name="Bitmaps">In table order; none before the Server has given the bitmaps.</param>
public sealed record LiveVolume(Guid Id, long Size, IReadOnlyList<BitmapDigest> Bitmaps);

/// <summary>Answer to <see cref="ReadBits"/>, <see cref="ChangedBits"/> and <see cref="BitsAt"/>.</summary>
/// <param name="File">Name of a file in <c>run/bits/</c> with the encoded bitmap.</param>
public sealed record BitsFile(string File) : ControlReply;

/// <summary>Digest of a bitmap as QEMU's <c>x-debug-block-dirty-bitmap-sha256</c> computes it.</summary>
/// <param name="Name">Name of the bitmap.</param>
/// <param name="Count">Dirty bytes, whole granules, as QEMU's <c>count</c>.</param>
/// <param name="Sha256">64 lower-case hexadecimal digits.</param>
public sealed record BitmapDigest(string Name, long Count, string Sha256);
