using System.Text.Json.Serialization;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Contracts.Answers;

/// <summary>Body of <c>POST /v1/volumes</c>.</summary>
/// <param name="Name">Name of the volume.</param>
/// <param name="Size">Size in bytes of a new file; null to take over what <paramref name="Backend"/> names.</param>
/// <param name="File">Where the new file goes; null for the data directory.</param>
/// <param name="Backend">What is there already: <c>file:PATH</c> or <c>device:PATH</c>.</param>
/// <param name="ReadOnly">Whether writes are refused.</param>
/// <param name="Durability"><c>process</c> or <c>power</c>; null for the default.</param>
/// <param name="WhenFull"><c>stall</c> or <c>fail</c>; null for <c>stall</c>.</param>
public sealed record CreateVolumeRequest(
    string? Name, [property: JsonConverter(typeof(ByteSizeConverter))] long? Size, string? File, string? Backend, bool ReadOnly,
    string? Durability, string? WhenFull);

/// <summary>Body of <c>PATCH /v1/volumes/{v}</c>: what of a volume is to change.</summary>
/// <param name="Size">Size in bytes; a raw file is made longer or shorter, a device is looked at again.</param>
public sealed record ChangeVolumeRequest([property: JsonConverter(typeof(ByteSizeConverter))] long? Size);

/// <summary>Body of <c>POST …/bitmaps</c>.</summary>
/// <param name="Name">Name of the bitmap.</param>
/// <param name="Granularity">Bytes a bit; null for 64 KiB.</param>
/// <param name="Disabled">Whether it starts without recording.</param>
/// <param name="Transient">Whether it ends with the Agent.</param>
public sealed record AddBitmapRequest(
    string? Name, [property: JsonConverter(typeof(ByteSizeConverter))] long? Granularity, bool Disabled, bool Transient);

/// <summary>Body of <c>PATCH …/bitmaps/{b}</c>.</summary>
/// <param name="Recording">Whether writes are to mark it.</param>
public sealed record ChangeBitmapRequest(bool? Recording);

/// <summary>Body of <c>POST …/bitmaps/{b}/merge</c>.</summary>
/// <param name="Sources">Where the bits come from: names of bitmaps of the volume, or <c>{"volume","name"}</c> for another
/// volume's.</param>
public sealed record MergeRequest(IReadOnlyList<MergeSourceRequest>? Sources);

/// <summary>A bitmap that is merged from.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Volume">Its volume; null for that of the target.</param>
[JsonConverter(typeof(MergeSourceConverter))]
public sealed record MergeSourceRequest(string Name, string? Volume);

/// <summary>Body of <c>PUT …/bitmaps/{b}/retention</c>.</summary>
/// <param name="Slices">Most slices that are kept; 0 for none.</param>
/// <param name="Overflow"><c>fail</c> or <c>cycle</c>; null leaves it as it is, <c>fail</c> at first.</param>
/// <param name="ForceCycle">Whether the oldest may go when there are more already.</param>
public sealed record RetentionRequest(long? Slices, string? Overflow, bool ForceCycle);

/// <summary>Body of <c>POST …/history/retain</c>.</summary>
/// <param name="Exact">Age up to which single writes are kept, as <c>30d</c>.</param>
/// <param name="Coalesced">Age up to which older ones are kept coalesced, as <c>1y</c>.</param>
/// <param name="DryRun">Whether nothing is to be done, and only said.</param>
public sealed record RetainRequest(string? Exact, string? Coalesced, bool DryRun);

/// <summary>Body of <c>POST …/bitmaps/{b}/slices</c>; it may be left out.</summary>
/// <param name="ForceCycle">Whether the oldest may go, whatever the policy says.</param>
public sealed record BankSliceRequest(bool ForceCycle);

/// <summary>Body of <c>POST /v1/checkpoints</c>.</summary>
/// <param name="Name">Name of the checkpoint.</param>
/// <param name="Volumes">The volumes, one instant each.</param>
public sealed record CreateCheckpointRequest(string? Name, IReadOnlyList<string>? Volumes);

/// <summary>Body of <c>POST /v1/verify</c>.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="At">A point; null for now.</param>
public sealed record VerifyRequest(string? Volume, string? At);
