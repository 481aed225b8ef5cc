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
public sealed partial class ApiJson : JsonSerializerContext;
