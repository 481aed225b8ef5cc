using System.Diagnostics;
using JasperFx.Events.Daemon.HighWater;
using Marten;
using Marten.Services;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Wakes Marten's daemon when this program has appended events: at once while few are appended, and under a stream of appends
/// only so often, since what a page of events costs depends little on how many are in it. Events that another program appends are
/// found by polling. Any thread appends, one daemon waits.
/// </summary>
public sealed class AppendWakeup : DocumentSessionListenerBase, IDaemonWakeup
{
    private readonly SemaphoreSlim _appended = new(0, 1);
    private readonly Lock _lock = new();
    private readonly WakePace _pace = new();

    /// <inheritdoc />
    public override Task AfterCommitAsync(IDocumentSession session, IChangeSet commit, CancellationToken token)
    {
        if (commit.GetEvents().Any())
            Wake();
        return Task.CompletedTask;
    }

    /// <inheritdoc />
    public async Task WaitAsync(TimeSpan timeout, CancellationToken token)
    {
        if (!await _appended.WaitAsync(timeout, token))
            return;
        var pause = _pace.Next(Stopwatch.GetElapsedTime(0));
        if (pause == TimeSpan.Zero)
            return;
        await Task.Delay(pause, token);
        // The daemon looks behind this, and so finds what was committed meanwhile.
        await _appended.WaitAsync(TimeSpan.Zero, token);
    }

    /// <inheritdoc />
    public void Dispose() => _appended.Dispose();

    /// <summary>A commit that comes while the daemon looks is not lost: the next wait ends at once.</summary>
    private void Wake()
    {
        lock (_lock)
            if (_appended.CurrentCount == 0)
                _appended.Release();
    }
}
