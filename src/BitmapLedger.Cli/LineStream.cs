using BitmapLedger.Contracts;

namespace BitmapLedger.Cli;

/// <summary>An answer that comes line by line, shown as it comes.</summary>
internal static class LineStream
{
    /// <summary>Shows it.</summary>
    /// <param name="session">Where to, and whether as JSON.</param>
    /// <param name="api">The server.</param>
    /// <param name="path">The question.</param>
    /// <param name="what">What comes, for when it is cut off.</param>
    /// <param name="show">Shows a line to people.</param>
    /// <returns>The last line, which says that it is whole.</returns>
    /// <exception cref="CliException">There was no last line.</exception>
    public static async Task<string> ShowAsync(Session session, ApiClient api, string path, string what, Action<string> show)
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
            ErrorCode.Busy, $"the server went away in the middle of the {what}", "ask again from the last event that was shown");
    }
}
