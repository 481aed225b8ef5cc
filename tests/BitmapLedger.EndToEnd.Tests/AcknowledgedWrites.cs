using System.Collections.Concurrent;
using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>
/// A client that writes each sector of its own stretch of a volume once, in order, and says so after each reply. It
/// ends
/// when the server goes away or when it is told to; what it said is what a client may rely on.
/// </summary>
internal sealed class AcknowledgedWrites : IDisposable
{
    public const long Sector = 512;

    private readonly ConcurrentQueue<long> _acknowledged = new();
    private readonly Process _shell;
    private readonly Task _reading;
    private int _disposed;

    public AcknowledgedWrites(string uri, long firstSector)
    {
        _shell = Tool.Start("nbdsh", ["-u", uri, "-c", $"""
            import sys
            sector = {firstSector}
            while True:
                h.pwrite(bytes([1 + sector % 255]) * 512, sector * 512)
                sys.stdout.write("%d\n" % sector)
                sys.stdout.flush()
                sector += 1
            """]);
        _reading = ReadAsync();
        _ = _shell.StandardError.ReadToEndAsync();
    }

    public IReadOnlyCollection<long> Sectors => _acknowledged;

    public async Task UntilAsync(int count)
    {
        var started = Stopwatch.StartNew();
        while (_acknowledged.Count < count && !_reading.IsCompleted)
        {
            if (started.Elapsed > TimeSpan.FromMinutes(3))
                throw new TimeoutException($"{_acknowledged.Count} of {count} writes were acknowledged within three minutes.");
            await Task.Delay(5);
        }
    }

    /// <summary>Waits until the client has noticed that its server is gone.</summary>
    public Task EndedAsync() => _reading.WaitAsync(TimeSpan.FromMinutes(3));

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        if (!_shell.HasExited)
            _shell.Kill();
        _shell.WaitForExit();
        _shell.Dispose();
    }

    private async Task ReadAsync()
    {
        // Held here: its process may be disposed of before the last line is read.
        var output = _shell.StandardOutput;
        while (await output.ReadLineAsync() is { } line)
            _acknowledged.Enqueue(long.Parse(line));
    }
}
