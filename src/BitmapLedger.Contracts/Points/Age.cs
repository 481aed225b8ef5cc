using System.Globalization;

namespace BitmapLedger.Contracts.Points;

/// <summary>How old something is, as retention writes it: <c>30d</c>, <c>12h</c>, <c>1y</c>.</summary>
public static class Age
{
    /// <summary>A thousand years: what is older than any ledger need not be told apart.</summary>
    private const long SecondsMax = 31_536_000_000;

    /// <summary>Reads an age: a whole number with <c>s m h d y</c>, a year of 365 days.</summary>
    /// <param name="text">As the user wrote it.</param>
    /// <param name="fault">What is wrong with it.</param>
    /// <returns>Null when it is none.</returns>
    public static TimeSpan? TryParse(string text, out string fault)
    {
        fault = "";
        var unitSeconds = text.Length < 2 ? 0 : UnitSeconds(text[^1]);
        if (unitSeconds > 0 && long.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var count)
            && count <= SecondsMax / unitSeconds)
            return TimeSpan.FromSeconds(count * unitSeconds);
        fault = $"'{text}' is no age; write a whole number and s, m, h, d or y, as 30d";
        return null;
    }

    /// <summary>Seconds of a unit; 0 when it is none.</summary>
    internal static long UnitSeconds(char unit) => unit switch
    {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'y' => 365 * 86_400,
        _ => 0,
    };
}
