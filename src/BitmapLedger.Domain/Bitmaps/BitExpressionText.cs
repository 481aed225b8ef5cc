using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Writes a <see cref="BitExpression"/> as one short string: a snapshot holds thousands of them.</summary>
public sealed class BitExpressionJson : JsonConverter<BitExpression>
{
    /// <inheritdoc />
    public override BitExpression Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        try
        {
            return BitExpression.Parse(reader.GetString() ?? "");
        }
        catch (FormatException fault)
        {
            throw new JsonException(fault.Message, fault);
        }
    }

    /// <inheritdoc />
    public override void Write(Utf8JsonWriter writer, BitExpression value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

/// <summary>Reads the text of a <see cref="BitExpression"/>.</summary>
internal static class BitExpressionText
{
    public static BitExpression Parse(string text) =>
        BitExpression.Of(text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(Term).ToList());

    private static BitTerm Term(string text)
    {
        var steps = text.Split('/');
        BitPath? path = null;
        foreach (var step in steps.Skip(1))
        {
            var parts = step.Split('<');
            path = new(Number(parts[0], text), parts.Length > 1 ? Number(parts[1], text) : null, path);
        }

        return new(Origin(steps[0], text), path ?? throw Fault(text));
    }

    private static BitOrigin Origin(string origin, string text)
    {
        if (origin.StartsWith('='))
            return new BitOrigin.Earlier((int)Number(origin[1..], text));
        if (origin.StartsWith('#') && origin.Split('.') is [var number, var index])
            return new BitOrigin.Given(Number(number[1..], text), (int)Number(index, text));
        return origin.Split("..") is [var from, var to]
            ? new BitOrigin.Touched(Number(from, text), to.Length == 0 ? null : Number(to, text))
            : throw Fault(text);
    }

    private static long Number(string digits, string text) =>
        long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw Fault(text);

    private static FormatException Fault(string text) => new($"'{text}' is no term of a bit expression");
}
