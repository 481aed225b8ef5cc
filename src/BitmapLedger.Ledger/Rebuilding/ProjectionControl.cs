using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger.Indexing;
using JasperFx.Events.Daemon;
using Marten;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>How projections stand, and rebuilding them while events flow.</summary>
/// <param name="store">The store.</param>
/// <param name="coordinator">Whose daemon runs them: a second daemon would count twice.</param>
public sealed class ProjectionControl(
    IDocumentStore store, Marten.Events.Daemon.Coordination.IProjectionCoordinator coordinator)
{
    private const string InlineName = "volume-state";
    private static readonly TimeSpan _rebuildLimit = TimeSpan.FromHours(1);
    private static readonly string[] _rebuilt = [BitmapBits.ProjectionName, UnionNodes.ProjectionName];

    /// <summary>How far each projection is.</summary>
    public async Task<ProjectionsAnswer> StatusAsync(CancellationToken cancellation)
    {
        var progress = await store.Advanced.AllProjectionProgress(token: cancellation);
        var statistics = await store.Advanced.FetchEventStoreStatistics(token: cancellation);
        var last = statistics.EventSequenceNumber;
        return new([new(InlineName, "inline", last, 0), .. _rebuilt.Select(Show)]);

        ProjectionAnswer Show(string name)
        {
            var at = progress.FirstOrDefault(p => p.ShardName.StartsWith(name, StringComparison.Ordinal))?.Sequence ?? 0;
            return new(name, "async", at, Math.Max(0, last - at));
        }
    }

    /// <summary>Drops a projection and builds it again from the events; writes go on.</summary>
    /// <param name="name">Its name; null for every one that can be rebuilt.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<ProjectionsAnswer> RebuildAsync(string? name, CancellationToken cancellation)
    {
        if (name is not null && !_rebuilt.Contains(name))
            throw new LedgerException(
                ErrorCode.NotFound, $"Projection '{name}' not found or not rebuilt apart", $"there are {string.Join(", ", _rebuilt)}");
        foreach (var projection in _rebuilt.Where(p => name is null || p == name))
            await RebuildAsync(coordinator.DaemonForMainDatabase(), projection, cancellation);
        return await StatusAsync(cancellation);
    }

    private static async Task RebuildAsync(IProjectionDaemon daemon, string name, CancellationToken cancellation)
    {
        var shard = $"{name}:All";
        await daemon.StopAgentAsync(shard);
        await daemon.RebuildProjectionAsync(name, _rebuildLimit, cancellation);
        await daemon.StartAgentAsync(shard, cancellation);
    }
}
