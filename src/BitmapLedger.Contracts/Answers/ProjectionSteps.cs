using System.Text.Json;

namespace BitmapLedger.Contracts.Answers;

/// <summary>What an event does to the bits of a bitmap, of its successor or of a slice.</summary>
/// <param name="Name"><c>b0</c>, <c>successor:b0</c> or <c>slice:b0/4</c>.</param>
/// <param name="Change"><c>added</c> or <c>removed</c>; null when it was there before and after.</param>
/// <param name="SetBytes">Bytes of the blocks that became dirty.</param>
/// <param name="ClearedBytes">Bytes of the blocks that became clean.</param>
/// <param name="Count">Dirty bytes afterwards.</param>
/// <param name="Sha256">Digest afterwards; null when it was removed.</param>
/// <param name="Extents">Stretches that became dirty or clean, ascending; the first 16.</param>
/// <param name="ExtentsComplete">False when there are more; else null.</param>
public sealed record BitsStep(
    string Name, string? Change, long SetBytes, long ClearedBytes, long Count, string? Sha256, IReadOnlyList<ExtentAnswer> Extents,
    bool? ExtentsComplete);

/// <summary>A node of the union tree that an event seals, made anew.</summary>
/// <param name="Level">Its level: it stands for 16 to the power of it events.</param>
/// <param name="First">Number of its first event.</param>
/// <param name="Last">Number of its last event.</param>
/// <param name="Granularity">Bytes a block.</param>
/// <param name="TouchedBytes">Bytes of the blocks that its events touched.</param>
/// <param name="StoredBytes">Bytes that it takes.</param>
/// <param name="Lost">Whether writes may have gone unrecorded in it.</param>
/// <param name="Inexact">Whether more may be in it than was written.</param>
/// <param name="Stored"><c>same</c>, <c>different</c> or <c>missing</c>: what is in the database.</param>
public sealed record NodeStep(
    int Level, long First, long Last, long Granularity, long TouchedBytes, long StoredBytes, bool Lost, bool Inexact, string Stored);

/// <summary>A member of the decision state that an event changes.</summary>
/// <param name="Member">Its name.</param>
/// <param name="Before">Its value before; null when it had none.</param>
/// <param name="After">Its value afterwards; null when it has none.</param>
public sealed record MemberStep(string Member, JsonElement? Before, JsonElement? After);

/// <summary>An event, and what it changes in a projection.</summary>
/// <param name="Event">Its number.</param>
/// <param name="Type">Its name.</param>
/// <param name="Time">When, RFC 3339.</param>
/// <param name="Lsn">The writes it holds, or the write it stands after.</param>
/// <param name="Stored">At the event at which the stored projection stands: <c>same</c>, <c>different</c> or <c>damaged</c>; else
/// null.</param>
/// <param name="Bits">Of <c>bitmap-bits</c>: those that change.</param>
/// <param name="Nodes">Of <c>union-tree</c>: those that it seals.</param>
/// <param name="Members">Of <c>volume-state</c>: those that change.</param>
public sealed record ProjectionStep(
    long Event, string Type, string Time, LsnSpan Lsn, string? Stored, IReadOnlyList<BitsStep>? Bits, IReadOnlyList<NodeStep>? Nodes,
    IReadOnlyList<MemberStep>? Members);

/// <summary>A walk of a projection over a stretch of a volume's history.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Projection">Name of the projection.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where it ends.</param>
/// <param name="Steps">Each event, oldest first.</param>
public sealed record ProjectionStepsAnswer(
    string Volume, string Projection, PositionAnswer From, PositionAnswer To, IReadOnlyList<ProjectionStep> Steps);
