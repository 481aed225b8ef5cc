using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Control;

/// <summary>
/// One message on the control link: a 32-bit little-endian length in bytes, then this as UTF-8 JSON.
/// A request carries an id that its reply repeats; requests are answered in any order. Each end counts its own.
/// </summary>
/// <param name="Id">Chosen by the asker, unique among its open requests.</param>
/// <param name="Request">Set when this is a request.</param>
/// <param name="Reply">Set when this is a reply.</param>
public sealed record ControlFrame(long Id, ControlRequest? Request, ControlReply? Reply)
{
    /// <summary>Raised when a message changes its meaning; both ends refuse another number.</summary>
    public const int ProtocolVersion = 5;

    /// <summary>A longer frame ends the link: nothing in this protocol is bulk, bits travel as files.</summary>
    public const int BytesMax = 16 << 20;

    /// <summary>The frame as it goes over the link, its length in front.</summary>
    public byte[] Encode()
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(this, ControlJson.Default.ControlFrame);
        var bytes = new byte[sizeof(int) + json.Length];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, sizeof(int));
        return bytes;
    }
}

/// <summary>Serialiser of <see cref="ControlFrame"/> and of <c>agent/volumes.json</c>; source-generated for Native
/// AOT.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ControlFrame))]
[JsonSerializable(typeof(List<VolumeSpec>))]
public sealed partial class ControlJson : JsonSerializerContext;
