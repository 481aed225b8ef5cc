using System.Globalization;

namespace BitmapLedger.Contracts.Points;

/// <summary>Sizes as they go in and out: bytes, or a number with K M G T P, powers of 1,024 as qemu-img has
/// them.</summary>
public static class ByteSize
{
    private const string Units = "KMGTP";

    /// <summary>Reads a size; <paramref name="fault"/> says what is wrong with it.</summary>
    public static long? TryParse(string text, out string fault)
    {
        fault = "";
        var digits = text;
        var shift = 0;
        if (text.Length > 0 && Units.IndexOf(char.ToUpperInvariant(text[^1])) is var unit and >= 0)
        {
            shift = 10 * (unit + 1);
            digits = text[..^1];
        }

        if (decimal.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            && (shift > 0 || decimal.IsInteger(number))
            && number <= (decimal)long.MaxValue / (1L << shift))
            return (long)(number * (1L << shift));
        fault = $"'{text}' is no size; write bytes, or a number with K, M, G, T or P";
        return null;
    }

    /// <summary>A size for people: in the largest unit that it fills.</summary>
    public static string Show(long bytes)
    {
        var unit = -1;
        double value = bytes;
        for (; value >= 1024 && unit < Units.Length - 1; unit++)
            value /= 1024;
        return unit < 0 ? $"{bytes} B" : string.Create(CultureInfo.InvariantCulture, $"{value:0.##} {Units[unit]}iB");
    }
}
