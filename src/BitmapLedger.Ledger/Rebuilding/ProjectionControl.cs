using System.Collections.Concurrent;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger.Measuring;
using BitmapLedger.Ledger.Storing;
using JasperFx;
using Marten;
using Marten.Events.Daemon.Coordination;
using Microsoft.Extensions.Logging;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>How projections stand, and rebuilding them while events flow. A rebuild that was asked for is carried out whatever
/// ends meanwhile: who asked, PostgreSQL, or this program.</summary>
/// <param name="store">The store.</param>
/// <param name="coordinator">Whose daemon runs the projections.</param>
/// <param name="rebuild">Builds versions.</param>
/// <param name="lag">Is told how far projections are.</param>
/// <param name="watch">Says when PostgreSQL is there.</param>
/// <param name="clock">Measures pauses.</param>
/// <param name="log">Is told what could not be rebuilt.</param>
public sealed partial class ProjectionControl(
    IDocumentStore store, IProjectionCoordinator coordinator, ProjectionRebuild rebuild, LagMeter lag, PostgresWatch watch,
    TimeProvider clock, ILogger<ProjectionControl> log) : IDisposable
{
    private const string InlineName = "volume-state";
    private static readonly TimeSpan _pauseAfterFailure = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _asked = new(0);
    private readonly ConcurrentDictionary<(string Name, int Version), Exception> _failures = new();
    private volatile TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>How far each projection is.</summary>
    public async Task<ProjectionsAnswer> StatusAsync(CancellationToken cancellation)
    {
        var progress = await store.Advanced.AllProjectionProgress(token: cancellation);
        var last = (await store.Advanced.FetchEventStoreStatistics(token: cancellation)).EventSequenceNumber;
        List<ProjectionAnswer> answers = [new(InlineName, "inline", last, 0)];
        foreach (var name in rebuild.Names)
        {
            var at = progress.FirstOrDefault(p => p.ShardName == Shard(name))?.Sequence ?? 0;
            var versions = await rebuild.VersionsAsync(name, cancellation);
            BuildingAnswer? building = null;
            if (versions.Building is { } next)
            {
                var behind = Math.Min(last, await rebuild.BehindAsync(name, next, cancellation));
                building = new(next, last - behind, behind);
            }

            answers.Add(new(name, "async", at, Math.Max(0, last - at), versions.Active, building));
        }

        return new(answers);
    }

    /// <summary>Builds a projection again from the events; writes go on, and answers are made of the old one until the new one
    /// is whole.</summary>
    /// <param name="name">Its name; null for every one that can be rebuilt.</param>
    /// <param name="cancellation">Ends the waiting; the rebuild goes on.</param>
    public async Task<ProjectionsAnswer> RebuildAsync(string? name, CancellationToken cancellation)
    {
        if (name is not null && !rebuild.Names.Contains(name))
            throw new LedgerException(
                ErrorCode.NotFound, $"Projection '{name}' not found or not rebuilt apart", $"there are {string.Join(", ", rebuild.Names)}");
        foreach (var projection in rebuild.Names.Where(p => name is null || p == name))
            await CarryOutAsync(projection, cancellation);
        return await StatusAsync(cancellation);
    }

    /// <summary>Carries out what is asked for, and what was asked for before this program started, until it is told to
    /// end.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        using var _ = coordinator.DaemonForMainDatabase().Tracker.Subscribe(lag);
        while (!cancellation.IsCancellationRequested)
        {
            foreach (var name in rebuild.Names)
                while (!cancellation.IsCancellationRequested && !await TryRunAsync(name, cancellation))
                    await Task.Delay(_pauseAfterFailure, clock, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Interlocked.Exchange(ref _ended, new(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
            await _asked.WaitAsync(cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        _ended.SetException(new LedgerException(
            ErrorCode.Busy, "The server ends, and the rebuild with it", "it goes on when the server is back: bml projection status"));
    }

    /// <inheritdoc />
    public void Dispose() => _asked.Dispose();

    private static string Shard(string name) => $"{name}:All";

    private async Task CarryOutAsync(string name, CancellationToken cancellation)
    {
        var version = await rebuild.BeginAsync(name, cancellation);
        _failures.TryRemove((name, version), out _);
        while (true)
        {
            var ended = _ended.Task;
            _asked.Release();
            if ((await rebuild.VersionsAsync(name, cancellation)).Active >= version)
                return;
            if (_failures.TryRemove((name, version), out var failure))
                throw failure;
            await ended.WaitAsync(cancellation);
        }
    }

    /// <returns>False when it is to be tried again.</returns>
    private async Task<bool> TryRunAsync(string name, CancellationToken cancellation)
    {
        try
        {
            await watch.HereAsync(cancellation);
            if ((await rebuild.VersionsAsync(name, cancellation)).Building is not { } version)
                return true;
            try
            {
                await watch.WithAsync(away => rebuild.RunAsync(name, away), cancellation);
                Rebuilt(name, version);
                await StartAgentAsync(name, cancellation);
            }
            catch (Exception failure) when (!IsAway(failure) && !cancellation.IsCancellationRequested)
            {
                NotRebuilt(name, version, failure.GetBaseException().Message);
                await rebuild.AbandonAsync(name, cancellation);
                _failures[(name, version)] = failure;
            }

            return true;
        }
        catch (Exception failure) when (IsAway(failure) || cancellation.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>A daemon that stopped because of what stood in the old version goes on.</summary>
    private async Task StartAgentAsync(string name, CancellationToken cancellation)
    {
        var daemon = coordinator.DaemonForMainDatabase();
        var shard = Shard(name);
        if (daemon.CurrentAgents().Any(a => a.Name.Identity == shard && a.Status == AgentStatus.Running))
            return;
        await daemon.StopAgentAsync(shard);
        await daemon.StartAgentAsync(shard, cancellation);
    }

    private static bool IsAway(Exception failure) =>
        failure is LedgerException { IsTransient: true } || PostgresWatch.IsOutage(failure);

    [LoggerMessage(Level = LogLevel.Information, Message = "version {Version} of projection {Name} is built and answers are made of it")]
    private partial void Rebuilt(string name, int version);

    [LoggerMessage(Level = LogLevel.Error, Message = "version {Version} of projection {Name} is given up, the old one stays: {Reason}")]
    private partial void NotRebuilt(string name, int version, string reason);
}
