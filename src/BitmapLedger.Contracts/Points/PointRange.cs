namespace BitmapLedger.Contracts.Points;

/// <summary>Two points as spec/points.md writes them: <c>FROM..TO</c> in one word, or two.</summary>
public static class PointRange
{
    private const string Dots = "..";

    /// <summary>Takes a range apart. A bitmap's name may hold dots too, so every pair of them is tried.</summary>
    /// <param name="from">The first point, or both in one word.</param>
    /// <param name="to">The second; with it the first is not taken apart.</param>
    /// <returns>Two texts, which need not be points: whoever resolves them says what is wrong.</returns>
    public static (string From, string? To) Split(string from, string? to)
    {
        var first = from.IndexOf(Dots, StringComparison.Ordinal);
        if (to is not null || first <= 0)
            return (from, to);
        for (var dots = first; dots > 0; dots = from.IndexOf(Dots, dots + 1, StringComparison.Ordinal))
        {
            if (IsPoint(from[..dots]) && IsPoint(from[(dots + Dots.Length)..]))
                return (from[..dots], from[(dots + Dots.Length)..]);
        }

        return IsPoint(from) ? (from, null) : (from[..first], from[(first + Dots.Length)..]);
    }

    private static bool IsPoint(string text) => Point.TryParse(text, out _) is not null;
}
