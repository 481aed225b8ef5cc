using System.Net.Sockets;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger.Describing;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Marten.Events.Daemon.Coordination;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>What runs all the time: the link to the Agent, shipping, and rebuilds. All outlast PostgreSQL.</summary>
public sealed partial class LedgerLoop(
    AgentLink link, Reconciler reconciler, LedgerOpening opening, PostgresWatch watch, IProjectionCoordinator projections,
    ProjectionControl rebuilds, ContextAnswers contexts, Lanes lanes, Shipper shipper, TimeProvider clock,
    IHostApplicationLifetime lifetime, ILogger<LedgerLoop> log)
    : BackgroundService
{
    private static readonly TimeSpan _pauseLeast = TimeSpan.FromMilliseconds(25);
    private static readonly TimeSpan _pauseMost = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan _pauseAfterFailure = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan _pauseForVolumes = TimeSpan.FromSeconds(2);
    private readonly Dictionary<Guid, string> _complaints = [];
    private volatile bool _met;

    /// <summary>Whether an Agent is connected and every volume has its bitmaps.</summary>
    public bool IsReady => _met && link.IsConnected;

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await opening.OpenAsync(clock, stoppingToken);
            await projections.StartAsync(stoppingToken);
            await Task.WhenAll(KeepLinkAsync(stoppingToken), ShipAsync(stoppingToken), rebuilds.RunAsync(stoppingToken));
            await projections.StopAsync(CancellationToken.None);
        }
        catch (LedgerException)
        {
            // Said by whoever waits for the end.
            lifetime.StopApplication();
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Told to end before the database was there.
        }
    }

    private async Task KeepLinkAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            try
            {
                await link.RunAsync(MeetAsync, AnswerAsync, cancellation);
            }
            catch (SocketException)
            {
                // No Agent yet; bml serve starts it.
            }
            catch (Exception failure) when (!cancellation.IsCancellationRequested)
            {
                LinkEnded(failure.Message);
            }

            _met = false;
            await Pause(_pauseAfterFailure, cancellation);
        }
    }

    /// <summary>Before the meeting the ledger may lack what the journals hold, and does not know it.</summary>
    private async Task<ControlReply> AnswerAsync(ControlRequest question, CancellationToken cancellation) => _met
        ? await contexts.AnswerAsync(question, cancellation)
        : new Failed(ErrorCode.Busy, "the server has just started and does not know all writes yet; try again");

    /// <summary>The link is kept while PostgreSQL is away; the meeting goes on when it is back. Volumes that cannot be
    /// opened now are asked for again while it lasts.</summary>
    private async Task MeetAsync(Welcome welcome, CancellationToken cancellation)
    {
        var latest = welcome;
        var waits = await WhenHereAsync(
            away => reconciler.MeetAsync(latest, away), async () => latest = await link.StatusAsync(cancellation), cancellation);
        _met = true;
        AgentMet(welcome.ProcessId, welcome.Volumes.Count);
        while (waits)
        {
            await Task.Delay(_pauseForVolumes, clock, cancellation);
            waits = await WhenHereAsync(reconciler.MeetAwayAsync, () => Task.CompletedTask, cancellation);
        }
    }

    private async Task<bool> WhenHereAsync(
        Func<CancellationToken, Task<bool>> meet, Func<Task> beforeNext, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                var waits = false;
                await watch.WithAsync(async away => waits = await meet(away), cancellation);
                return waits;
            }
            catch (Exception failure) when (link.IsConnected && IsAway(failure))
            {
                MeetingWaits(failure.GetBaseException().Message);
                await Pause(_pauseAfterFailure, cancellation);
                await watch.HereAsync(cancellation);
                await beforeNext();
            }
        }
    }

    private async Task ShipAsync(CancellationToken cancellation)
    {
        var pause = _pauseLeast;
        while (!cancellation.IsCancellationRequested)
        {
            var more = false;
            // Before the first meeting the journals belong to the meeting.
            if (_met && watch.Reason is null)
                foreach (var volumeId in shipper.Watched)
                    more |= await TryShipAsync(volumeId, cancellation);
            pause = more ? _pauseLeast : TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, _pauseMost.Ticks));
            if (!more)
                await Pause(pause, cancellation);
        }
    }

    /// <summary>A volume that cannot be shipped holds up no other.</summary>
    private async Task<bool> TryShipAsync(Guid volumeId, CancellationToken cancellation)
    {
        var more = false;
        try
        {
            using (await lanes.TakeAsync([volumeId], cancellation))
                if (!shipper.IsRipe(volumeId))
                    return false;
            await watch.WithAsync(async away =>
            {
                using var _ = await lanes.TakeAsync([volumeId], away);
                more = await shipper.ShipRipeAsync(volumeId, away);
            }, cancellation);
            if (_complaints.Remove(volumeId))
                ShippingGoesOn(volumeId);
        }
        catch (Exception failure) when (!cancellation.IsCancellationRequested)
        {
            var reason = failure.GetBaseException().Message;
            if (_complaints.GetValueOrDefault(volumeId) != reason)
                ShippingWaits(volumeId, reason);
            _complaints[volumeId] = reason;
            await Pause(_pauseAfterFailure, cancellation);
        }

        return more;
    }

    private static bool IsAway(Exception failure) =>
        failure is LedgerException { IsTransient: true } || PostgresWatch.IsOutage(failure);

    private async Task Pause(TimeSpan time, CancellationToken cancellation) =>
        await Task.Delay(time, clock, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    [LoggerMessage(Level = LogLevel.Information, Message = "met agent {ProcessId} with {Volumes} volumes")]
    private partial void AgentMet(int processId, int volumes);

    [LoggerMessage(Level = LogLevel.Warning, Message = "link to the agent ended: {Reason}")]
    private partial void LinkEnded(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "meeting the agent waits: {Reason}")]
    private partial void MeetingWaits(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "shipping of volume {VolumeId} waits: {Reason}")]
    private partial void ShippingWaits(Guid volumeId, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "shipping of volume {VolumeId} goes on")]
    private partial void ShippingGoesOn(Guid volumeId);
}
