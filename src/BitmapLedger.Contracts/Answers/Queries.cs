using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Answers;

/// <summary>Sizes of a volume at the two ends of a range, in bytes.</summary>
/// <param name="From">At its beginning.</param>
/// <param name="To">At its end.</param>
public sealed record SizesAnswer(long From, long To);

/// <summary>What changed after <paramref name="From"/>, up to and including <paramref name="To"/>.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="From">Beginning.</param>
/// <param name="To">End.</param>
/// <param name="Granularity">Bytes to which extents are rounded outward.</param>
/// <param name="Size">Sizes of the volume.</param>
/// <param name="Exact">False when more may be reported than changed.</param>
/// <param name="Gaps">Where writes may have gone unrecorded.</param>
/// <param name="ChangedBytes">Sum of the extents.</param>
/// <param name="Extents">Ascending, merged, clipped to the size; null in another format. Read while it is written.</param>
/// <param name="Blocks">Numbers of the blocks, in format <c>blocks</c>.</param>
/// <param name="Bitmap">The bits, least significant first, in format <c>bitmap</c>.</param>
public sealed record ChangedAnswer(
    string Volume, PositionAnswer From, PositionAnswer To, long Granularity, SizesAnswer Size, bool Exact,
    IReadOnlyList<GapAnswer> Gaps, long ChangedBytes, IEnumerable<ExtentAnswer>? Extents,
    IEnumerable<long>? Blocks = null, byte[]? Bitmap = null);

/// <summary>A bitmap as it was at a point.</summary>
/// <param name="Name">Name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Recording">Whether writes marked it.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
/// <param name="Busy">Whether a job used it; asked for now, also whether a block export shows it.</param>
/// <param name="Inconsistent">Whether its bits cannot be relied on; only of bitmaps that were imported so.</param>
/// <param name="Count">Dirty bytes as QEMU counts them.</param>
/// <param name="Sha256">Digest as QEMU computes it.</param>
/// <param name="Extents">Dirty bytes; null in another format. Read while it is written.</param>
/// <param name="Blocks">Numbers of the dirty blocks, in format <c>blocks</c>.</param>
/// <param name="Bits">The bits, least significant first, in format <c>bitmap</c>.</param>
public sealed record BitmapAnswer(
    string Name, long Granularity, bool Recording, bool Persistent, bool Busy, bool Inconsistent, long Count, string Sha256,
    IEnumerable<ExtentAnswer>? Extents, IEnumerable<long>? Blocks = null, byte[]? Bits = null);

/// <summary>The bitmaps of a volume as they were.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="At">When.</param>
/// <param name="Exact">False when more may be dirty than was written.</param>
/// <param name="Gaps">Where writes may have gone unrecorded.</param>
/// <param name="Bitmaps">Newest first, as QEMU lists them.</param>
public sealed record ReplayAnswer(
    string Volume, PositionAnswer At, bool Exact, IReadOnlyList<GapAnswer> Gaps, IReadOnlyList<BitmapAnswer> Bitmaps);

/// <summary>LSNs of an event: one number, or first and last.</summary>
/// <param name="First">First LSN.</param>
/// <param name="Last">Last LSN.</param>
/// <param name="IsRange">Whether the event covers these writes, be it one; else it stands after <paramref name="Last"/>.</param>
[JsonConverter(typeof(LsnSpanConverter))]
public readonly record struct LsnSpan(long First, long Last, bool IsRange = false);

/// <summary>One event of a volume's stream.</summary>
/// <param name="Event">Its number.</param>
/// <param name="Type">Its name.</param>
/// <param name="Time">When, RFC 3339.</param>
/// <param name="Lsn">The writes it holds, or the write it stands after.</param>
/// <param name="Writes">How many writes it holds.</param>
/// <param name="Bytes">How many bytes they wrote.</param>
/// <param name="Actor">Who; null, and shown, for what nobody commanded: writes have their clients in <paramref name="Data"/>.</param>
/// <param name="Client">With what program; null, and shown, likewise.</param>
/// <param name="CommandId">By which command.</param>
/// <param name="Transaction">In which transaction.</param>
/// <param name="Data">The event itself.</param>
/// <param name="Volume">Name of its volume, where events of several volumes may stand together.</param>
/// <param name="Sequence">Its number among the events of all volumes, where those may stand together.</param>
public sealed record HistoryEvent(
    long Event, string Type, string Time, LsnSpan Lsn, long? Writes, long? Bytes,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.Never)] string? Actor,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.Never)] string? Client,
    string? CommandId, string? Transaction, JsonElement Data, string? Volume = null, long? Sequence = null);

/// <summary>Events of a volume.</summary>
/// <param name="Events">Newest last.</param>
/// <param name="Exact">False when writes may have happened in it that no event names; else null, and not
/// shown.</param>
/// <param name="Next">When there are more: the number to send as <c>after</c> for them.</param>
public sealed record HistoryAnswer(IReadOnlyList<HistoryEvent> Events, bool? Exact, long? Next = null);

/// <summary>A single write that touched the bytes asked about.</summary>
/// <param name="Lsn">Its LSN.</param>
/// <param name="Time">When.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Kind"><c>write</c>, <c>write-zeroes</c> or <c>trim</c>.</param>
/// <param name="Client">Which connection, as far as it is known.</param>
/// <param name="Event">The event that holds it.</param>
/// <param name="HeldBy">Bitmaps and checkpoint ranges that still hold it.</param>
public sealed record BlameWrite(
    long Lsn, string Time, long Offset, long Length, string Kind, string Client, long Event, IReadOnlyList<string> HeldBy);

/// <summary>The writes that touched some bytes.</summary>
/// <param name="Writes">Newest first.</param>
/// <param name="Exact">False when there may have been others.</param>
/// <param name="Gaps">Where writes may have gone unrecorded.</param>
/// <param name="Complete">False when the limit cut the list.</param>
public sealed record BlameAnswer(
    IReadOnlyList<BlameWrite> Writes, bool Exact, IReadOnlyList<GapAnswer> Gaps, bool Complete);

/// <summary>Digests of one bitmap, got in three ways; <c>missing</c> where it is not there, <c>damaged</c> where it cannot be
/// read.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Live">From the Agent's memory; null at a past point.</param>
/// <param name="Projected">From the projected bits and the union tree; of the two, the one that differs.</param>
/// <param name="Replayed">From the stream alone.</param>
public sealed record VerifiedBitmap(string Name, string? Live, string Projected, string Replayed);

/// <summary>Digests of one slice, likewise; the Agent knows no slices.</summary>
/// <param name="Bitmap">Name of its bitmap.</param>
/// <param name="Slice">Its number.</param>
/// <param name="Projected">From the projected bits and the union tree.</param>
/// <param name="Replayed">From the stream alone.</param>
public sealed record VerifiedSlice(string Bitmap, long Slice, string Projected, string Replayed);

/// <summary>Whether live, projected and replayed bits agree.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="At">Where.</param>
/// <param name="Equal">Whether they agree.</param>
/// <param name="FirstDifference">The first event at which they part, when they do: one that is not what was written; of a
/// block that is lacking, the first that touched it; else of a block too many, the one behind which the bitmap was empty
/// last.</param>
/// <param name="Bitmaps">Each bitmap.</param>
/// <param name="Slices">Each slice; null when there is none.</param>
public sealed record VerifyAnswer(
    string Volume, PositionAnswer At, bool Equal, long? FirstDifference, IReadOnlyList<VerifiedBitmap> Bitmaps,
    IReadOnlyList<VerifiedSlice>? Slices = null);

/// <summary>Whether live, projected and replayed bits agree in every volume.</summary>
/// <param name="Equal">Whether they agree.</param>
/// <param name="Volumes">Each volume.</param>
public sealed record VerifiedAnswer(bool Equal, IReadOnlyList<VerifyAnswer> Volumes);

/// <summary>What a check found.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Events">Events read.</param>
/// <param name="Writes">Writes in them.</param>
/// <param name="JournalSegments">Journal segments read.</param>
/// <param name="JournalWrites">Writes in them.</param>
/// <param name="Damage">Everything that is wrong; empty when nothing is.</param>
public sealed record CheckedVolume(
    string Volume, long Events, long Writes, int JournalSegments, long JournalWrites, IReadOnlyList<string> Damage);

/// <summary>What a check of everything found.</summary>
/// <param name="Ok">Whether nothing is wrong.</param>
/// <param name="Volumes">Each volume.</param>
public sealed record CheckAnswer(bool Ok, IReadOnlyList<CheckedVolume> Volumes);

/// <summary>How far a projection is.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Lifecycle"><c>inline</c> or <c>async</c>.</param>
/// <param name="Sequence">The last event it has seen, in the order of the database.</param>
/// <param name="Behind">Events it has not seen.</param>
/// <param name="Version">Number of the version that answers are made of; null where there is only one.</param>
/// <param name="Building">The version that a rebuild makes beside it; null when none does.</param>
public sealed record ProjectionAnswer(
    string Name, string Lifecycle, long Sequence, long Behind, int? Version = null, BuildingAnswer? Building = null);

/// <summary>A version of a projection that is being built; answers are made of it when it is whole.</summary>
/// <param name="Version">Its number.</param>
/// <param name="Sequence">Events that are in it.</param>
/// <param name="Behind">Events that are not.</param>
public sealed record BuildingAnswer(int Version, long Sequence, long Behind);

/// <summary>All projections.</summary>
/// <param name="Projections">Each of them.</param>
/// <param name="Next">When there are more: the name to send as <c>after</c> for them.</param>
public sealed record ProjectionsAnswer(IReadOnlyList<ProjectionAnswer> Projections, string? Next = null);

/// <summary>How often each part of a volume was written, and when.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="From">Beginning of the range.</param>
/// <param name="To">Its end.</param>
/// <param name="By"><c>time</c>: a row is a stretch of time, a column a stretch of the volume; <c>blocks</c>: a cell is a
/// stretch of the volume, row by row.</param>
/// <param name="Size">Bytes that the cells cover.</param>
/// <param name="Columns">Cells of a row.</param>
/// <param name="Rows">Rows.</param>
/// <param name="Exact">False when there may have been other writes.</param>
/// <param name="Gaps">Where writes may have gone unrecorded.</param>
/// <param name="Writes">Writes in the range.</param>
/// <param name="Cells">Writes that touched each cell; the earliest row first.</param>
public sealed record HeatAnswer(
    string Volume, PositionAnswer From, PositionAnswer To, string By, long Size, int Columns, int Rows, bool Exact,
    IReadOnlyList<GapAnswer> Gaps, long Writes, IReadOnlyList<IReadOnlyList<long>> Cells);
