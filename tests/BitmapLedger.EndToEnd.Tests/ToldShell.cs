using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>An nbdsh whose script says a line for each step, and pauses and goes on when it is told to.</summary>
internal sealed class ToldShell : IDisposable
{
    /// <summary>Longer than any recovery takes on two busy cores; a load that stands still is a failure.</summary>
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);

    private readonly Process _shell;
    private readonly Action<string[]> _take;
    private readonly Task _reading;
    private volatile int _pauses;

    /// <param name="arguments">Of nbdsh.</param>
    /// <param name="take">Is given the words of each line but <c>paused</c>; by a thread of its own.</param>
    public ToldShell(IReadOnlyList<string> arguments, Action<string[]> take)
    {
        _take = take;
        _shell = Tool.Start("nbdsh", arguments, withInput: true);
        _reading = ReadAsync();
        _ = _shell.StandardError.ReadToEndAsync();
    }

    /// <summary>Nothing is under way when this returns, and nothing is sent before <see cref="GoOnAsync"/>.</summary>
    public async Task PauseAsync()
    {
        var pauses = _pauses;
        await TellAsync("pause");
        await UntilAsync(() => _pauses > pauses, "a pause");
    }

    public Task GoOnAsync() => TellAsync("go");

    /// <summary>Waits until something holds that its lines bring about.</summary>
    public async Task UntilAsync(Func<bool> holds, string what)
    {
        var started = Stopwatch.StartNew();
        while (!holds())
        {
            if (_reading.IsCompleted)
                throw new InvalidOperationException("The client ended by itself.");
            if (started.Elapsed > _limit)
                throw new TimeoutException($"The client waited {_limit.TotalSeconds:0} s for {what}.");
            await Task.Delay(5);
        }
    }

    /// <summary>Waits until it has ended and all that it said was taken.</summary>
    public Task EndedAsync() => _reading.WaitAsync(_limit);

    public void Kill()
    {
        if (!_shell.HasExited)
            _shell.Kill();
    }

    public void Dispose()
    {
        Kill();
        _shell.WaitForExit();
        _shell.Dispose();
    }

    private async Task TellAsync(string word)
    {
        await _shell.StandardInput.WriteLineAsync(word);
        await _shell.StandardInput.FlushAsync();
    }

    private async Task ReadAsync()
    {
        // Held here: its process may be disposed of before the last line is read.
        var output = _shell.StandardOutput;
        while (await output.ReadLineAsync() is { } line)
        {
            if (line == "paused")
                Interlocked.Increment(ref _pauses);
            else
                _take(line.Split(' '));
        }
    }
}
