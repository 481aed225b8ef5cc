using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Contracts;

/// <summary>Serialiser of everything that goes over HTTP and out of <c>bml --json</c>; source-generated for Native
/// AOT.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ChangedAnswer))]
[JsonSerializable(typeof(ReplayAnswer))]
[JsonSerializable(typeof(HistoryAnswer))]
[JsonSerializable(typeof(HistoryEvent))]
[JsonSerializable(typeof(BitmapAnswer))]
[JsonSerializable(typeof(BlameAnswer))]
[JsonSerializable(typeof(VerifyAnswer))]
[JsonSerializable(typeof(VerifiedAnswer))]
[JsonSerializable(typeof(CheckAnswer))]
[JsonSerializable(typeof(ProjectionsAnswer))]
[JsonSerializable(typeof(ProjectionStepsAnswer))]
[JsonSerializable(typeof(VolumeAnswer))]
[JsonSerializable(typeof(VolumesAnswer))]
[JsonSerializable(typeof(BitmapsAnswer))]
[JsonSerializable(typeof(CheckpointsAnswer))]
[JsonSerializable(typeof(CommandAnswer))]
[JsonSerializable(typeof(CommandsAnswer))]
[JsonSerializable(typeof(RepairAnswer))]
[JsonSerializable(typeof(SchemaAnswer))]
[JsonSerializable(typeof(ReadyAnswer))]
[JsonSerializable(typeof(VersionAnswer))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(ErrorLine))]
[JsonSerializable(typeof(CreateVolumeRequest))]
[JsonSerializable(typeof(AddBitmapRequest))]
[JsonSerializable(typeof(ChangeBitmapRequest))]
[JsonSerializable(typeof(CreateCheckpointRequest))]
[JsonSerializable(typeof(VerifyRequest))]
[JsonSerializable(typeof(ChangeVolumeRequest))]
[JsonSerializable(typeof(MergeRequest))]
[JsonSerializable(typeof(RetentionRequest))]
[JsonSerializable(typeof(BankSliceRequest))]
[JsonSerializable(typeof(RetainRequest))]
[JsonSerializable(typeof(RetainAnswer))]
[JsonSerializable(typeof(BankAnswer))]
[JsonSerializable(typeof(SlicesAnswer))]
[JsonSerializable(typeof(HeatAnswer))]
public sealed partial class ApiJson : JsonSerializerContext
{
    /// <summary>Leaves <c>'</c>, <c>+</c> and letters of every language as they are: no answer is ever part of a page of HTML.</summary>
    public static JavaScriptEncoder Encoder => JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>The serialiser to write with; <see cref="Default"/> reads the same, and escapes what HTML would need.</summary>
    public static ApiJson Wire => field ??= new(new JsonSerializerOptions(Default!.Options) { Encoder = Encoder });
}
