using BitmapLedger.Ledger.Rebuilding;
using JasperFx.Events.Daemon;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Marten's daemon over the projections of a test's ledger; stopped with it, so that no connection is left.</summary>
internal sealed class RunningDaemon : IAsyncDisposable
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);
    private readonly TestLedger _ledger;
    private readonly IProjectionDaemon _daemon;

    private RunningDaemon(TestLedger ledger, IProjectionDaemon daemon) => (_ledger, _daemon) = (ledger, daemon);

    /// <summary>Starts it, and waits until all that there is is projected.</summary>
    public static async Task<RunningDaemon> StartAsync(TestLedger ledger)
    {
        var running = new RunningDaemon(ledger, await ledger.Store.BuildProjectionDaemonAsync());
        await running._daemon.StartAllAsync();
        await running.CatchUpAsync();
        return running;
    }

    public Task CatchUpAsync() => _daemon.WaitForNonStaleData(_limit);

    /// <summary>Makes both projections anew, while it runs.</summary>
    public async Task RebuildAsync()
    {
        var rebuild = new ProjectionRebuild(_ledger.Store, _ledger.Source, TimeProvider.System);
        foreach (var name in rebuild.Names)
        {
            await rebuild.BeginAsync(name, CancellationToken.None);
            await rebuild.RunAsync(name, CancellationToken.None).WaitAsync(_limit);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _daemon.StopAllAsync();
        _daemon.Dispose();
    }
}
