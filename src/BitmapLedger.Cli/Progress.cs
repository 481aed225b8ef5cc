using System.Globalization;
using System.Text;
using System.Text.Json;

namespace BitmapLedger.Cli;

/// <summary>How far work is, in units of it.</summary>
internal readonly record struct Measure(long Done, long Total);

/// <summary>
/// Tells how work goes that may take longer than two seconds: a bar where a person watches, a JSON line a second where a
/// program asked for them. Ends with the work.
/// </summary>
internal sealed class Progress : IAsyncDisposable
{
    private const int BarWidth = 30;
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan _everyLine = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _everyBar = TimeSpan.FromMilliseconds(200);

    private readonly ProgressTarget _target;
    private readonly string _what;
    private readonly TimeProvider _clock;
    private readonly long _started;
    private readonly CancellationTokenSource _ending = new();
    private readonly Task _telling;

    /// <summary>Begins to tell.</summary>
    /// <param name="target">Whom.</param>
    /// <param name="what">What is being done.</param>
    /// <param name="measure">Says how far it is; null where nobody knows.</param>
    /// <param name="clock">Says how long it takes.</param>
    public Progress(ProgressTarget target, string what, Func<Task<Measure?>>? measure = null, TimeProvider? clock = null)
    {
        _target = target;
        _what = what;
        _clock = clock ?? TimeProvider.System;
        _started = _clock.GetTimestamp();
        _telling = target.Lines is not null ? LinesAsync(measure) : target.Bar ? BarAsync(measure) : Task.CompletedTask;
    }

    private double Seconds => Math.Round(_clock.GetElapsedTime(_started).TotalSeconds, 1);

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await Task.WhenAll([_telling]);
        if (_target.Lines is not null)
            await _target.Lines.WriteLineAsync(Line(null, finished: true));
        _ending.Dispose();
    }

    /// <summary>A bar for people.</summary>
    internal static string Bar(string what, double seconds, Measure? measure)
    {
        var time = string.Create(CultureInfo.InvariantCulture, $"{seconds:0} s");
        if (measure is not { Total: > 0 } known)
            return $"{what} … {time}";
        var share = Math.Clamp((double)known.Done / known.Total, 0, 1);
        var full = (int)(share * BarWidth);
        return string.Create(
            CultureInfo.InvariantCulture, $"{what} [{new string('#', full)}{new string('.', BarWidth - full)}] {share * 100:0} % {time}");
    }

    internal string Line(Measure? measure, bool finished)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes))
        {
            writer.WriteStartObject();
            writer.WriteString("type", "progress");
            writer.WriteString("what", _what);
            writer.WriteNumber("seconds", Seconds);
            if (measure is { } known)
            {
                writer.WriteNumber("done", known.Done);
                writer.WriteNumber("total", known.Total);
            }

            writer.WriteBoolean("finished", finished);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    private async Task LinesAsync(Func<Task<Measure?>>? measure)
    {
        while (!_ending.IsCancellationRequested)
        {
            await _target.Lines!.WriteLineAsync(Line(await MeasureAsync(measure), finished: false));
            await Task.Delay(_everyLine, _clock, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task BarAsync(Func<Task<Measure?>>? measure)
    {
        await Task.Delay(_patience, _clock, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        var shown = false;
        while (!_ending.IsCancellationRequested)
        {
            // To the start of the line, and what was there goes.
            await Console.Error.WriteAsync($"\r\e[K{Bar(_what, Seconds, await MeasureAsync(measure))}");
            shown = true;
            await Task.Delay(_everyBar, _clock, _ending.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        if (shown)
            await Console.Error.WriteAsync("\r\e[K");
    }

    /// <summary>Whoever cannot say how far the work is must not end it.</summary>
    private static async Task<Measure?> MeasureAsync(Func<Task<Measure?>>? measure)
    {
        try
        {
            return measure is null ? null : await measure();
        }
        catch (Exception failure) when (failure is CliException or OperationCanceledException)
        {
            return null;
        }
    }
}
