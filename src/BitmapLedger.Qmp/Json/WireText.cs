using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Json;

/// <summary>
/// Writes values byte for byte as QEMU writes them: members in the order of its hash table, a blank behind commas and
/// colons, everything beyond ASCII escaped with upper-case digits, numbers by <c>%.17g</c>.
/// </summary>
public static class WireText
{
    private const int Buckets = 512;

    /// <summary>The value as text of ASCII characters.</summary>
    /// <param name="value">Made of objects, arrays, texts, booleans, <see cref="long"/>, <see cref="ulong"/>,
    /// <see cref="double"/> and null.</param>
    public static string Write(JsonNode? value)
    {
        var text = new StringBuilder();
        Write(value, text);
        return text.ToString();
    }

    /// <summary>The members in the order in which QEMU goes through them.</summary>
    /// <param name="members">The object.</param>
    public static IEnumerable<KeyValuePair<string, JsonNode?>> InOrder(JsonObject members) =>
        // A bucket's newest member comes first.
        members.Reverse().OrderBy(m => Bucket(m.Key));

    private static void Write(JsonNode? value, StringBuilder text)
    {
        switch (value)
        {
            case null:
                text.Append("null");
                break;
            case JsonObject members:
                WriteMany('{', InOrder(members), (m, t) =>
                {
                    WriteText(m.Key, t);
                    t.Append(": ");
                    Write(m.Value, t);
                }, '}', text);
                break;
            case JsonArray elements:
                WriteMany('[', elements, Write, ']', text);
                break;
            default:
                WriteScalar(value.AsValue(), text);
                break;
        }
    }

    private static void WriteMany<T>(char open, IEnumerable<T> many, Action<T, StringBuilder> write, char close, StringBuilder text)
    {
        text.Append(open);
        var first = true;
        foreach (var one in many)
        {
            if (!first)
                text.Append(", ");
            first = false;
            write(one, text);
        }

        text.Append(close);
    }

    private static void WriteScalar(JsonValue value, StringBuilder text)
    {
        if (value.TryGetValue<string>(out var words))
            WriteText(words, text);
        else if (value.TryGetValue<bool>(out var yes))
            text.Append(yes ? "true" : "false");
        else if (value.TryGetValue<long>(out var signed))
            text.Append(CultureInfo.InvariantCulture, $"{signed}");
        else if (value.TryGetValue<int>(out var small))
            text.Append(CultureInfo.InvariantCulture, $"{small}");
        else if (value.TryGetValue<ulong>(out var unsigned))
            text.Append(CultureInfo.InvariantCulture, $"{unsigned}");
        else
            text.Append(Number(value.GetValue<double>()));
    }

    private static void WriteText(string words, StringBuilder text)
    {
        text.Append('"');
        foreach (var unit in words)
        {
            _ = unit switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),
                '\b' => text.Append("\\b"),
                '\f' => text.Append("\\f"),
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                < ' ' or > '~' => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)unit:X4}"),
                _ => text.Append(unit),
            };
        }

        text.Append('"');
    }

    /// <summary>C's <c>%.17g</c>.</summary>
    private static string Number(double value)
    {
        if (!double.IsFinite(value))
            return double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        const int digitsMax = 17;
        var scientific = value.ToString("E16", CultureInfo.InvariantCulture);
        var e = scientific.IndexOf('E', StringComparison.Ordinal);
        var exponent = int.Parse(scientific[(e + 1)..], CultureInfo.InvariantCulture);
        var sign = scientific[0] == '-' ? "-" : "";
        var digits = scientific[sign.Length..e].Replace(".", "", StringComparison.Ordinal).TrimEnd('0').PadRight(1, '0');
        if (exponent is < -4 or >= digitsMax)
            return $"{sign}{digits[0]}{Fraction(digits[1..])}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        digits = digits.PadRight(exponent + 1, '0');
        return $"{sign}{digits[..(exponent + 1)]}{Fraction(digits[(exponent + 1)..])}";
    }

    private static string Fraction(string digits) => digits.Length == 0 ? "" : "." + digits;

    /// <summary>The hash of QEMU's qdict.c, which it took from tdb.</summary>
    private static uint Bucket(string key)
    {
        var bytes = Encoding.UTF8.GetBytes(key);
        unchecked
        {
            var value = 0x238F13AFu * (uint)bytes.Length;
            for (var i = 0; i < bytes.Length; i++)
                value += (uint)bytes[i] << (i * 5 % 24);
            return ((1103515243u * value) + 12345u) % Buckets;
        }
    }
}
