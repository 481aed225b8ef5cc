using System.Text.Json.Serialization;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Domain.Volumes;

/// <summary>A bitmap as decisions need it: without its bits, but with what they are made of.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Recording">Whether writes mark it, or its successor while jobs use it.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
public sealed record BitmapState(string Name, long Granularity, bool Recording, bool Persistent)
{
    /// <summary>The policy under which a bank fails when there is no room.</summary>
    public const string Fail = "fail";

    /// <summary>The policy under which the oldest slice goes then.</summary>
    public const string Cycle = "cycle";

    /// <summary>Whether it may not be modified.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool ReadOnly { get; init; }

    /// <summary>Whether its bits cannot be relied on; all that can be done with it is removing it.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool Inconsistent { get; init; }

    /// <summary>The run of the Agent in which it was added; empty where nobody said.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public Guid Run { get; init; }

    /// <summary>Its bits.</summary>
    public BitExpression Bits { get; init; } = BitExpression.Empty;

    /// <summary>What takes the writes while jobs use it; null when none does.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public BitExpression? Successor { get; init; }

    /// <summary>Ids of the jobs that use it.</summary>
    public IReadOnlyList<string> Jobs { get; init; } = [];

    /// <summary>From where on it may hold something: where it was added, emptied, or banked last; earlier when older bits
    /// were merged in.</summary>
    public Position Since { get; init; }

    /// <summary>Most slices that it keeps; 0 for none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public long Retention { get; init; }

    /// <summary><see cref="Fail"/> or <see cref="Cycle"/>.</summary>
    public string Overflow { get; init; } = Fail;

    /// <summary>Number of the slice that is banked next.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public long NextSlice { get; init; }

    /// <summary>Its slices, oldest first.</summary>
    public IReadOnlyList<SliceState> Slices { get; init; } = [];

    /// <summary>Whether jobs use it: then only looking at it is allowed, and jobs that only read.</summary>
    [JsonIgnore]
    public bool Busy => Jobs.Count > 0;

    /// <summary>Name of its successor in tables of bits: no bitmap can have it.</summary>
    [JsonIgnore]
    public string SuccessorName => $"{Name}\0successor";

    /// <summary>The slice of a number, or null.</summary>
    public SliceState? Slice(long number) => Slices.FirstOrDefault(s => s.Number == number);

    /// <summary>The bits of a slice, of all later ones, and its own: what a <c>partial</c> backup from there copies.</summary>
    /// <param name="number">Number of the slice.</param>
    /// <returns>Null when there is no such slice.</returns>
    public BitExpression? FromSlice(long number) => Slice(number) is null
        ? null
        : Bits.With([Successor ?? BitExpression.Empty, .. Slices.Where(s => s.Number >= number).Select(s => s.Bits)]);
}
