using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Control;

/// <summary>What the Server may ask of the Agent over <c>run/control.sock</c>, and a few things that the Agent may ask of the Server.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "type")]
[JsonDerivedType(typeof(Hello), "hello")]
[JsonDerivedType(typeof(OpenVolume), "open-volume")]
[JsonDerivedType(typeof(PublishVolume), "publish-volume")]
[JsonDerivedType(typeof(CloseVolume), "close-volume")]
[JsonDerivedType(typeof(Rotate), "rotate")]
[JsonDerivedType(typeof(Settle), "settle")]
[JsonDerivedType(typeof(Digest), "digest")]
[JsonDerivedType(typeof(ReadBits), "read-bits")]
[JsonDerivedType(typeof(DigestLive), "digest-live")]
[JsonDerivedType(typeof(Release), "release")]
[JsonDerivedType(typeof(SetQuota), "set-quota")]
[JsonDerivedType(typeof(MakeDurable), "make-durable")]
[JsonDerivedType(typeof(AcknowledgeLoss), "acknowledge-loss")]
[JsonDerivedType(typeof(SetJournalAside), "set-journal-aside")]
[JsonDerivedType(typeof(StartNbdServer), "start-nbd-server")]
[JsonDerivedType(typeof(StopNbdServer), "stop-nbd-server")]
[JsonDerivedType(typeof(AddExport), "add-export")]
[JsonDerivedType(typeof(RemoveExport), "remove-export")]
[JsonDerivedType(typeof(ListExports), "list-exports")]
[JsonDerivedType(typeof(Status), "status")]
[JsonDerivedType(typeof(ChangedBits), "changed-bits")]
[JsonDerivedType(typeof(BitsAt), "bits-at")]
[JsonDerivedType(typeof(ListRanges), "list-ranges")]
public abstract record ControlRequest;

/// <summary>First request on a link. A new link takes over from an older one, which the Agent closes.</summary>
/// <param name="Protocol">Version of this protocol, <see cref="ControlFrame.ProtocolVersion"/>.</param>
/// <param name="Answers">Whether the Agent may ask back on this link; what an earlier Server cannot read ends the link.</param>
public sealed record Hello(int Protocol, bool Answers = false) : ControlRequest;

/// <summary>
/// Opens and locks the backend and the journal of a volume without offering it to clients. Until
/// <see cref="PublishVolume"/> it does not survive a restart of the Agent. Asked again for an open volume: no change.
/// </summary>
/// <param name="Volume">What to open.</param>
public sealed record OpenVolume(VolumeSpec Volume) : ControlRequest;

/// <summary>Writes the volume into <c>agent/volumes.json</c> and offers it over NBD.</summary>
/// <param name="Id">Volume id.</param>
public sealed record PublishVolume(Guid Id) : ControlRequest;

/// <summary>
/// Ends the export: running requests finish, its connections close, locks go. An unknown id is no error (a retry).
/// </summary>
/// <param name="Id">Volume id.</param>
/// <param name="DeleteJournal">True when the volume is removed and its last write is in the ledger.</param>
public sealed record CloseVolume(Guid Id, bool DeleteJournal) : ControlRequest;

/// <summary>
/// Closes the gates of all named volumes, drains them, takes each LSN, swaps each live bitmap for an empty one,
/// journals
/// a fence in each, opens the gates. All or nothing; a gate that does not drain in time answers <c>busy</c>.
/// </summary>
/// <param name="Volumes">The volumes, each once; a volume that gets another size stands alone.</param>
public sealed record Rotate(IReadOnlyList<RotateVolume> Volumes) : ControlRequest;

/// <summary>One volume of a <see cref="Rotate"/>.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Granularity">Bytes a bit of the new live bitmap: the finest that any of its bitmaps needs from now
/// on.</param>
/// <param name="Size">Bytes that the volume and its file have from the fence on; null for as many as before.</param>
public sealed record RotateVolume(Guid Id, long Granularity, long? Size = null);

/// <summary>
/// The bitmaps of a volume as of a fence. The Agent folds every swapped-out map up to the fence into the bitmaps that
/// recorded, then replaces its table by <paramref name="Bitmaps"/>, and keeps what was written after the fence.
/// </summary>
/// <param name="Id">Volume id.</param>
/// <param name="Fence">The fence of the last <see cref="Rotate"/>.</param>
/// <param name="Bitmaps">The whole table; a bitmap that is missing here is gone.</param>
public sealed record Settle(Guid Id, long Fence, IReadOnlyList<BitmapSource> Bitmaps) : ControlRequest;

/// <summary>One bitmap of a <see cref="Settle"/>: its bits at the fence are the union of <see cref="From"/> and
/// <see cref="File"/>.</summary>
/// <param name="Name">Name of the bitmap.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Recording">Whether writes after the fence mark it.</param>
/// <param name="From">Bitmaps of the table before whose bits at the fence flow in; its own name keeps its bits. After a
/// fence that changed the size they are those of the old size, clipped or grown.</param>
/// <param name="File">A file in <c>run/bits/</c> with an encoded bitmap; the Agent deletes it after reading. Null
/// for none.</param>
public sealed record BitmapSource(
    string Name, long Granularity, bool Recording, IReadOnlyList<BitsFrom> From, string? File);

/// <summary>Bits that flow from one bitmap into another.</summary>
/// <param name="Name">The bitmap before.</param>
/// <param name="Through">Bytes a bit of the coarsest bitmap on the way; its own or finer changes nothing.</param>
public sealed record BitsFrom(string Name, long Through);

/// <summary>Digests of all bitmaps of a volume as of its last fence, writes after it left out.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Fence">The fence of the last <see cref="Rotate"/>.</param>
public sealed record Digest(Guid Id, long Fence) : ControlRequest;

/// <summary>The bits of a bitmap as of the last fence of its volume, writes after it left out, as a file in
/// <c>run/bits/</c> that whoever asked deletes.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Fence">The fence of the last <see cref="Rotate"/>.</param>
/// <param name="Name">Name of the bitmap.</param>
public sealed record ReadBits(Guid Id, long Fence, string Name) : ControlRequest;

/// <summary>Bits of the bitmaps of volumes as they are now, every write so far included. Cuts nothing.</summary>
/// <param name="Ids">The volumes.</param>
/// <param name="Bitmap">The one that is wanted; null for all.</param>
/// <param name="WithSha256">Whether digests are wanted; else they are empty.</param>
public sealed record DigestLive(IReadOnlyList<Guid> Ids, string? Bitmap, bool WithSha256) : ControlRequest;

/// <summary>Everything up to <paramref name="Lsn"/> is committed in the ledger: segments that hold nothing newer may
/// go.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Lsn">Last committed LSN.</param>
public sealed record Release(Guid Id, long Lsn) : ControlRequest;

/// <summary>Makes every record of a volume durable that is there now; under durability <c>process</c> it is at
/// once.</summary>
/// <param name="Id">Volume id.</param>
public sealed record MakeDurable(Guid Id) : ControlRequest;

/// <summary>The ledger has recorded what <see cref="VolumeStatus.Lost"/> and <see cref="VolumeStatus.Recovered"/> said.
/// Until then nothing is rotated: no command may stand before what it does not know of.</summary>
/// <param name="Id">Volume id.</param>
public sealed record AcknowledgeLoss(Guid Id) : ControlRequest;

/// <summary>
/// Moves the journal of a closed volume out of the way, for whoever wants to look at it: the volume opens with a new one.
/// A volume that is open is refused with <c>busy</c>; one without a journal is no error (a retry).
/// </summary>
/// <param name="Id">Volume id.</param>
/// <param name="Volume">The volume as the ledger knows it, which has recorded all that can be read of the journal. What is in its
/// image is made durable first: the records that told which of it is not go out of the way.</param>
public sealed record SetJournalAside(Guid Id, VolumeSpec? Volume = null) : ControlRequest;

/// <summary>Another quota for the journal of a volume, from now on and after a restart of the Agent.</summary>
/// <param name="Id">Volume id.</param>
/// <param name="Bytes">Most bytes.</param>
public sealed record SetQuota(Guid Id, long Bytes) : ControlRequest;

/// <summary>Asks how volumes are, and which block exports there are.</summary>
/// <param name="Ids">Those volumes only; null for all.</param>
public sealed record Status(IReadOnlyList<Guid>? Ids = null) : ControlRequest;
