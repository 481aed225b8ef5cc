using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary>An answer that comes line by line, shown as it comes.</summary>
internal static class LineStream
{
    /// <summary>The way out where lines are events in their order: <c>--from</c> takes the last one that was shown.</summary>
    public const string GoOn = "ask again with --from event:N, N being the last event that was shown";

    /// <summary>The way out where nothing that was shown says where the rest begins.</summary>
    public const string AskAgain = "ask again for the whole answer";

    /// <summary>Shows it.</summary>
    /// <param name="session">Where to, and whether as JSON.</param>
    /// <param name="api">The server.</param>
    /// <param name="path">The question.</param>
    /// <param name="what">What comes, for when it is cut off.</param>
    /// <param name="hint">The way out when it is cut off.</param>
    /// <param name="show">Shows a line to people.</param>
    /// <returns>The last line, which says that it is whole.</returns>
    /// <exception cref="CliException">There was no last line.</exception>
    public static async Task<string> ShowAsync(Session session, ApiClient api, string path, string what, string hint, Action<string> show)
    {
        string? last = null;
        await foreach (var line in api.GetLinesAsync(path))
        {
            last = line.StartsWith("""{"type":"end",""", StringComparison.Ordinal) ? line : null;
            if (session.Json || session.JsonLines)
                await session.Out.WriteLineAsync(line);
            else if (last is null)
                show(line);
            await session.Out.FlushAsync();
        }

        return last ?? throw new CliException(
            ErrorCode.Busy, $"the server went away in the middle of the {what}", hint);
    }
}
