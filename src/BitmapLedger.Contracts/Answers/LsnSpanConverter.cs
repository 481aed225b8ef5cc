using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Contracts.Answers;

/// <summary>A command stands at one LSN, a number; writes have <c>{"first","last"}</c>.</summary>
public sealed class LsnSpanConverter : JsonConverter<LsnSpan>
{
    /// <inheritdoc />
    public override LsnSpan Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Number)
            return new(reader.GetInt64(), reader.GetInt64(), IsRange: false);
        long first = 0, last = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var isFirst = reader.ValueTextEquals("first");
            reader.Read();
            (first, last) = isFirst ? (reader.GetInt64(), last) : (first, reader.GetInt64());
        }

        return new(first, last, IsRange: true);
    }

    /// <inheritdoc />
    public override void Write(Utf8JsonWriter writer, LsnSpan value, JsonSerializerOptions options)
    {
        if (!value.IsRange)
        {
            writer.WriteNumberValue(value.Last);
            return;
        }

        writer.WriteStartObject();
        writer.WriteNumber("first", value.First);
        writer.WriteNumber("last", value.Last);
        writer.WriteEndObject();
    }
}
