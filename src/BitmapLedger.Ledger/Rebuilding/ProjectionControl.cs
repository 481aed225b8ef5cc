using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
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

    /// <summary>How far each projection is.</summary>
    public async Task<ProjectionsAnswer> StatusAsync(CancellationToken cancellation)
    {
        var progress = await store.Advanced.AllProjectionProgress(token: cancellation);
        var statistics = await store.Advanced.FetchEventStoreStatistics(token: cancellation);
        var last = statistics.EventSequenceNumber;
        var async = progress.FirstOrDefault(
            p => p.ShardName.StartsWith(BitmapBits.ProjectionName, StringComparison.Ordinal))?.Sequence ?? 0;
        return new(
        [
            new(InlineName, "inline", last, 0),
            new(BitmapBits.ProjectionName, "async", async, Math.Max(0, last - async)),
        ]);
    }

    /// <summary>Drops a projection and builds it again from the events; writes go on.</summary>
    /// <param name="name">Its name; null for every one that can be rebuilt.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<ProjectionsAnswer> RebuildAsync(string? name, CancellationToken cancellation)
    {
        if (name is not (null or BitmapBits.ProjectionName))
            throw new LedgerException(
                ErrorCode.NotFound, $"Projection '{name}' not found or not rebuilt apart", $"there is {BitmapBits.ProjectionName}");
        var daemon = coordinator.DaemonForMainDatabase();
        var shard = $"{BitmapBits.ProjectionName}:All";
        await daemon.StopAgentAsync(shard);
        await daemon.RebuildProjectionAsync(BitmapBits.ProjectionName, _rebuildLimit, cancellation);
        await daemon.StartAgentAsync(shard, cancellation);
        return await StatusAsync(cancellation);
    }
}
