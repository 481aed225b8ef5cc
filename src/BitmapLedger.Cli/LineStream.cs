using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary>An answer that comes line by line, shown as it comes.</summary>
internal static class LineStream
{
    /// <summary>Shows it; the last line says that it is whole.</summary>
    /// <param name="session">Where to, and whether as JSON.</param>
    /// <param name="api">The server.</param>
    /// <param name="path">The question.</param>
    /// <param name="what">What comes, for when it is cut off.</param>
    /// <param name="show">Shows a line to people.</param>
    public static async Task<int> ShowAsync(Session session, ApiClient api, string path, string what, Action<string> show)
    {
        var ended = false;
        await foreach (var line in api.GetLinesAsync(path))
        {
            ended = line.StartsWith("""{"type":"end",""", StringComparison.Ordinal);
            if (session.Json || session.JsonLines)
                await session.Out.WriteLineAsync(line);
            else if (!ended)
                show(line);
            await session.Out.FlushAsync();
        }

        return ended ? ExitCode.Ok : throw new CliException(
            ErrorCode.Busy, $"the server went away in the middle of the {what}", "ask again from the last event that was shown");
    }
}
