using System.Globalization;

namespace BitmapLedger.Hosting;

/// <summary>A program that is to run all the time.</summary>
/// <param name="Name">What it is called in lines for people.</param>
/// <param name="IsAlive">Whether it runs; asked often.</param>
/// <param name="ExitCode">How it ended, if that is known.</param>
/// <param name="StartAsync">Starts it; may fail with a <see cref="HostingException"/>.</param>
/// <param name="LastLine">What it said last; empty when nothing is known.</param>
public sealed record SupervisedPart(
    string Name, Func<bool> IsAlive, Func<int?> ExitCode, Func<CancellationToken, Task> StartAsync,
    Func<string> LastLine);

/// <summary>Starts again what dies, each part by itself: one that waits for its turn holds up none of the others.</summary>
/// <param name="clock">Times the pauses.</param>
/// <param name="say">Takes a line for people about each death.</param>
public sealed class Supervisor(TimeProvider clock, Action<string> say)
{
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(20);

    /// <summary>Watches until told to end; never fails.</summary>
    public Task RunAsync(IEnumerable<SupervisedPart> parts, CancellationToken cancellation) =>
        Task.WhenAll(parts.Select(p => KeepAsync(p, cancellation)));

    private async Task KeepAsync(SupervisedPart part, CancellationToken cancellation)
    {
        var backoff = new RestartBackoff(clock);
        while (true)
        {
            await PauseAsync(_look, cancellation);
            if (cancellation.IsCancellationRequested)
                return;
            if (part.IsAlive())
                continue;
            var pause = backoff.Died();
            say(Obituary(part, backoff, pause));
            await PauseAsync(pause, cancellation);
            if (cancellation.IsCancellationRequested)
                return;
            await StartAsync(part, cancellation);
            backoff.Started();
        }
    }

    private async Task StartAsync(SupervisedPart part, CancellationToken cancellation)
    {
        try
        {
            await part.StartAsync(cancellation);
        }
        // A disk without room refuses pid files too; it is tried again.
        catch (Exception failure) when (failure is HostingException or IOException or UnauthorizedAccessException)
        {
            say($"{part.Name} does not start: {failure.Message}");
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Told to end meanwhile.
        }
    }

    private static string Obituary(SupervisedPart part, RestartBackoff backoff, TimeSpan pause)
    {
        var how = part.ExitCode() is { } code ? $" with {code}" : "";
        var next = string.Create(CultureInfo.InvariantCulture, $"starting it again in {pause.TotalMilliseconds:0} ms");
        if (!backoff.IsCrashLoop)
            return $"{part.Name} died{how}; {next}";
        var said = part.LastLine() is { Length: > 0 } line ? $"; it last said: {line}" : "";
        return $"{part.Name} died{how}, {backoff.Deaths} times in a row now (a crash loop){said}; {next}";
    }

    private async Task PauseAsync(TimeSpan time, CancellationToken cancellation) =>
        await Task.Delay(time, clock, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
}
