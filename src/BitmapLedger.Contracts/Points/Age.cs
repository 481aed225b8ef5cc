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
        long? unitSeconds = text is [_, .., var unit] && text.AsSpan(0, text.Length - 1).IndexOfAnyExceptInRange('0', '9') < 0
            ? unit switch
            {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'y' => 365 * 86_400,
                _ => null,
            }
            : null;
        if (unitSeconds is not { } seconds)
            fault = $"'{text}' is no age; write a whole number and s, m, h, d or y, as 30d";
        else if (!long.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var count) || count > SecondsMax / seconds)
            fault = $"'{text}' is more than 1000y, which is older than any history";
        else
            return TimeSpan.FromSeconds(count * seconds);
        return null;
    }
}
