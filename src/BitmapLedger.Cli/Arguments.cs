using System.CommandLine;
using System.Globalization;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli;

/// <summary>Arguments and options that several verbs share, and the checks that need no server.</summary>
internal static class Arguments
{
    public static Argument<string> Volume() => new("VOL") { Description = "Name of the volume" };

    public static Argument<string> Name() => new("NAME") { Description = "Its name" };

    public static Option<string?> Text(string name, string description) => new(name) { Description = description };

    public static Option<string?> Format() => Text("--format", "extents (default), blocks or bitmap");

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    /// <summary>A size as bytes; null stays null.</summary>
    public static long? Size(string? text) => text is null ? null
        : ByteSize.TryParse(text, out var fault) ?? throw new CliException(ErrorCode.BadArgument, fault);

    /// <summary>A point that is at least well written; where it lies, the server says.</summary>
    public static string? PointText(string? text) => text is null || Point.TryParse(text, out var fault) is not null
        ? text
        : throw new CliException(ErrorCode.BadPoint, fault);

    /// <summary>An age that is well written.</summary>
    public static string AgeText(string text) => Age.TryParse(text, out var fault) is not null
        ? text
        : throw new CliException(ErrorCode.BadArgument, fault);

    /// <summary>A query string of what is set.</summary>
    public static string Query(params IEnumerable<(string Name, string? Value)> values)
    {
        var set = values.Where(
            v => v.Value is not null).Select(v => $"{v.Name}={Uri.EscapeDataString(v.Value!)}").ToList();
        return set.Count == 0 ? "" : "?" + string.Join('&', set);
    }

    /// <summary>A path of names; an empty one would name something else.</summary>
    public static string Path(params IEnumerable<string> parts) =>
        "v1/" + string.Join('/', parts.Select(part => part.Length > 0
            ? Segment(part)
            : throw new CliException(ErrorCode.BadArgument, "'' is no name", "a name has at least one character")));

    /// <summary>Whole numbers, told in our own words when they are none.</summary>
    public static string? Number(string? text, string what) => text is null || long.TryParse(
        text, NumberStyles.None, CultureInfo.InvariantCulture, out _)
        ? text
        : throw new CliException(ErrorCode.BadArgument, $"'{text}' is no {what}", "write a whole number");

    /// <summary>A size as the server reads it: bytes.</summary>
    public static string? SizeText(string? text) => Size(text)?.ToString(CultureInfo.InvariantCulture);

    // Dots are made unmistakable too: `.` and `..` are names here, and steps in a path.
    private static string Segment(string name) => Uri.EscapeDataString(name) switch
    {
        "." => "%2E",
        ".." => "%2E%2E",
        var escaped => escaped,
    };
}
