using System.CommandLine;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli;

/// <summary>Arguments and options that several verbs share, and the checks that need no server.</summary>
internal static class Arguments
{
    public static Argument<string> Volume() => new("VOL") { Description = "Name of the volume" };

    public static Argument<string> Name() => new("NAME") { Description = "Its name" };

    public static Option<string?> Text(string name, string description) => new(name) { Description = description };

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    /// <summary>A size as bytes; null stays null.</summary>
    public static long? Size(string? text) => text is null ? null
        : ByteSize.TryParse(text, out var fault) ?? throw new CliException(ErrorCode.BadArgument, fault);

    /// <summary>A point that is at least well written; where it lies, the server says.</summary>
    public static string? PointText(string? text) => text is null || Point.TryParse(text, out var fault) is not null
        ? text
        : throw new CliException(ErrorCode.BadPoint, fault);

    /// <summary>A query string of what is set.</summary>
    public static string Query(params IEnumerable<(string Name, string? Value)> values)
    {
        var set = values.Where(
            v => v.Value is not null).Select(v => $"{v.Name}={Uri.EscapeDataString(v.Value!)}").ToList();
        return set.Count == 0 ? "" : "?" + string.Join('&', set);
    }

    public static string Path(params IEnumerable<string> parts) =>
        "v1/" + string.Join('/', parts.Select(Uri.EscapeDataString));
}
