using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Points;

/// <summary>A size on input: a number of bytes, or a text with a unit (spec/points.md). Written as bytes.</summary>
public sealed class ByteSizeConverter : JsonConverter<long>
{
    /// <inheritdoc />
    /// <exception cref="JsonException">It is neither.</exception>
    public override long Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var bytes))
            return bytes;
        return (reader.TokenType == JsonTokenType.String ? ByteSize.TryParse(reader.GetString()!, out _) : null)
            ?? throw new JsonException();
    }

    /// <inheritdoc />
    public override void Write(Utf8JsonWriter writer, long value, JsonSerializerOptions options) => writer.WriteNumberValue(value);
}
