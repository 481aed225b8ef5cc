using System.Net.Sockets;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>What runs all the time: the link to the Agent, and shipping.</summary>
public sealed partial class LedgerLoop(
    AgentLink link, Reconciler reconciler, VolumeStreams streams, Lanes lanes, Shipper shipper, TimeProvider clock,
    ILogger<LedgerLoop> log) : BackgroundService
{
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan _pauseAfterFailure = TimeSpan.FromMilliseconds(250);
    private volatile bool _met;

    /// <summary>Whether an Agent is connected and every volume has its bitmaps.</summary>
    public bool IsReady => _met && link.IsConnected;

    /// <inheritdoc />
    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(KeepLinkAsync(stoppingToken), ShipAsync(stoppingToken));

    private async Task KeepLinkAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            try
            {
                await link.RunAsync(async (welcome, linked) =>
                {
                    await reconciler.MeetAsync(welcome, linked);
                    _met = true;
                    AgentMet(welcome.ProcessId, welcome.Volumes.Count);
                }, cancellation);
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

    private async Task ShipAsync(CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            var more = false;
            var pause = _pause;
            try
            {
                // Before the first meeting the journals belong to the meeting.
                if (_met)
                    foreach (var volume in await streams.AllAsync(cancellation))
                        more |= await ShipAsync(volume, cancellation);
            }
            catch (Exception failure) when (!cancellation.IsCancellationRequested)
            {
                ShippingFailed(failure.GetBaseException().Message);
                pause = _pauseAfterFailure;
            }

            if (!more)
                await Pause(pause, cancellation);
        }
    }

    /// <summary>Ships one volume; damage of its journal is told once and keeps no other volume from shipping.</summary>
    private async Task<bool> ShipAsync(VolumeState volume, CancellationToken cancellation)
    {
        try
        {
            using (await lanes.TakeAsync([volume.Id], cancellation))
                return await shipper.ShipRipeAsync(volume.Id, clock.GetUtcNow(), cancellation);
        }
        catch (CorruptionException damage)
        {
            JournalDamaged(volume.Name, damage.Message, volume.Name);
            return false;
        }
    }

    private async Task Pause(TimeSpan time, CancellationToken cancellation) =>
        await Task.Delay(time, clock, cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    [LoggerMessage(Level = LogLevel.Information, Message = "met agent {ProcessId} with {Volumes} volumes")]
    private partial void AgentMet(int processId, int volumes);

    [LoggerMessage(Level = LogLevel.Warning, Message = "link to the agent ended: {Reason}")]
    private partial void LinkEnded(string reason);

    [LoggerMessage(
        Level = LogLevel.Error, Message = "nothing of volume {Volume} is shipped: {Damage}; bml repair {Name} goes on")]
    private partial void JournalDamaged(string volume, string damage, string name);

    [LoggerMessage(Level = LogLevel.Warning, Message = "shipping waits: {Reason}")]
    private partial void ShippingFailed(string reason);
}
