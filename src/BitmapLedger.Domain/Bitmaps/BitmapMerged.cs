using System.Text.Json.Serialization;

namespace BitmapLedger.Domain;

/// <summary>The bits of some bitmaps, as they were here, were added to another.</summary>
/// <param name="Target">The bitmap that got them.</param>
/// <param name="Sources">Where they came from.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapMerged(string Target, IReadOnlyList<MergeSource> Sources, long AtLsn) : ICommandEvent;

/// <summary>A bitmap that was merged.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Volume">Name of its volume; null when it is the target's own.</param>
/// <param name="Granularity">Bytes a bit of a foreign source; null for one of the own volume.</param>
/// <param name="Bits">Bits of a foreign source as <c>BitmapCodec</c> encodes them, since another stream cannot be asked for
/// them when this one is replayed; null for one of the own volume, and in a decision whose foreign bits are still to be
/// given.</param>
public sealed record MergeSource(
    string Name,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Volume = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] long? Granularity = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] byte[]? Bits = null);
