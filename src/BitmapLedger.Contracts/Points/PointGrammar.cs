using System.Globalization;

namespace BitmapLedger.Contracts.Points;

/// <summary>The grammar of spec/points.md.</summary>
internal static class PointGrammar
{
    private const string Forms =
        "write now, start, event:N, lsn:N, checkpoint:NAME, slice:BITMAP/N, 2026-11-22T21:36:03Z, or -5m";

    public static Point? TryParse(string text, out string fault)
    {
        // No name holds a zero character, and PostgreSQL cannot be asked for one.
        var point = text.Contains('\0') ? null : Parse(text);
        fault = point is null ? $"'{text}' is no point in time; {Forms}" : "";
        return point;
    }

    private static Point? Parse(string text)
    {
        var colon = text.IndexOf(':');
        var word = colon < 0 ? text : text[..colon];
        var rest = colon < 0 ? "" : text[(colon + 1)..];
        return word switch
        {
            "now" when colon < 0 => new Point.Now(),
            "start" when colon < 0 => new Point.Start(),
            "event" => Number(rest) is { } number and > 0 ? new Point.AtEvent(number) : null,
            "lsn" => Number(rest) is { } number ? new Point.AtLsn(number) : null,
            "checkpoint" => rest.Length > 0 ? new Point.AtCheckpoint(rest) : null,
            "slice" or "slice-start" => Slice(rest, begin: word == "slice-start"),
            _ => text.StartsWith('-') ? Ago(text[1..]) : Instant(text),
        };
    }

    private static long? Number(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    /// <summary>The bitmap's name ends at the last slash.</summary>
    private static Point.AtSlice? Slice(string text, bool begin) =>
        text.LastIndexOf('/') is var slash and > 0 && Number(text[(slash + 1)..]) is { } number
            ? new(text[..slash], number, begin)
            : null;

    private static Point.Ago? Ago(string text) =>
        text is not [.., 'y'] && Age.TryParse(text, out _) is { Ticks: > 0 } span ? new(span) : null;

    private static Point.AtInstant? Instant(string text) =>
        text.Contains('T') && (text.EndsWith('Z') || text.LastIndexOfAny(['+', '-']) > text.IndexOf('T'))
        && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? new(time.ToUniversalTime())
            : null;
}
