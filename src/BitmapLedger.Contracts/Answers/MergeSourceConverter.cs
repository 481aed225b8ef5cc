using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Answers;

/// <summary>A source of a merge is the name of a bitmap, or <c>{"volume","name"}</c>, as QEMU's <c>BlockDirtyBitmapOrStr</c>
/// is.</summary>
public sealed class MergeSourceConverter : JsonConverter<MergeSourceRequest>
{
    /// <inheritdoc />
    public override MergeSourceRequest Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return new(reader.GetString()!, Volume: null);
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException();
        string? name = null, volume = null;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var member = reader.GetString();
            reader.Read();
            if (reader.TokenType != JsonTokenType.String)
                throw new JsonException();
            switch (member)
            {
                case "name":
                    name = reader.GetString();
                    break;
                case "volume":
                    volume = reader.GetString();
                    break;
                default:
                    throw new JsonException();
            }
        }

        return name is null ? throw new JsonException() : new(name, volume);
    }

    /// <inheritdoc />
    public override void Write(Utf8JsonWriter writer, MergeSourceRequest value, JsonSerializerOptions options)
    {
        if (value.Volume is null)
        {
            writer.WriteStringValue(value.Name);
            return;
        }

        writer.WriteStartObject();
        writer.WriteString("volume", value.Volume);
        writer.WriteString("name", value.Name);
        writer.WriteEndObject();
    }
}
