using System.Globalization;
using BitmapLedger.Contracts;
using Microsoft.Win32.SafeHandles;

namespace BitmapLedger.Cli;

/// <summary>Where word of long work goes: <c>--progress auto|none|json|fd:N</c>.</summary>
/// <param name="Lines">Takes JSON lines; null for a bar, or nothing at all.</param>
/// <param name="Bar">Whether a person watches stderr.</param>
internal sealed record ProgressTarget(TextWriter? Lines, bool Bar)
{
    /// <summary>Nobody is told.</summary>
    public static ProgressTarget None { get; } = new(null, Bar: false);

    /// <summary>Reads the option.</summary>
    /// <exception cref="CliException">It is none of the four, or its descriptor is not open.</exception>
    public static ProgressTarget Of(string text, bool quiet) => text switch
    {
        "none" => None,
        "auto" => new(null, !quiet && !Console.IsErrorRedirected),
        "json" => new(Console.Error, Bar: false),
        _ when text.StartsWith("fd:", StringComparison.Ordinal) => new(Descriptor(text), Bar: false),
        _ => throw new CliException(ErrorCode.BadArgument, $"'{text}' is no --progress", "take auto, none, json or fd:N"),
    };

    private static StreamWriter Descriptor(string text)
    {
        if (!int.TryParse(text["fd:".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            || !Path.Exists($"/proc/self/fd/{number}"))
            throw new CliException(
                ErrorCode.BadArgument, $"'{text}' names no open file descriptor", "open it for the command, as in: bml check --progress fd:3 3>log");
        try
        {
            return new(new FileStream(new SafeFileHandle(number, ownsHandle: false), FileAccess.Write, bufferSize: 0)) { AutoFlush = true };
        }
        catch (Exception refusal) when (refusal is ArgumentException or IOException or UnauthorizedAccessException)
        {
            throw new CliException(ErrorCode.BadArgument, $"'{text}' cannot be written to: {refusal.Message}");
        }
    }
}
