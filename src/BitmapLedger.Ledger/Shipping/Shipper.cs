using System.Collections.Concurrent;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Measuring;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Shipping;

/// <summary>
/// Takes writes from the journal files to the streams: in LSN order, exactly once. Its members are called inside the
/// lane of the volume, so that nothing is shipped past a fence whose command is not appended yet.
/// </summary>
/// <param name="streams">Appends.</param>
/// <param name="agent">Is told what is safe.</param>
/// <param name="settings">Where the journals are.</param>
/// <param name="clock">Measures how long a write waits.</param>
public sealed class Shipper(VolumeStreams streams, IAgent agent, LedgerSettings settings, TimeProvider clock)
{
    private const int BlockGood = 4096;

    /// <summary>The lane is given back after this many, so that a command waits for a second and not for a backlog.</summary>
    private const int ShipmentsMax = 16;

    private static readonly TimeSpan _ageMax = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<Guid, ShippingVolume> _volumes = new();
    private volatile IReadOnlyCollection<Guid> _watched = [];
    private readonly ConcurrentDictionary<Guid, long> _durable = new();

    /// <summary>The volumes whose journals are looked at. Read by any thread.</summary>
    public IReadOnlyCollection<Guid> Watched => _watched;

    /// <summary>Looks at the journals of these volumes and of no other.</summary>
    public void WatchOnly(IEnumerable<Guid> volumeIds) => _watched = [.. volumeIds];

    /// <summary>Looks at one more journal. One caller at a time.</summary>
    public void Watch(Guid volumeId) => _watched = [.. _watched.Append(volumeId).Distinct()];

    /// <summary>Looks at a journal no more. One caller at a time.</summary>
    public void Unwatch(Guid volumeId) => _watched = [.. _watched.Where(id => id != volumeId)];

    /// <summary>The state of a volume, without its checkpoints, as it was when the lane's last append was known to be done. Mostly
    /// that is what the stream says; where somebody else has appended, the expected event number refuses what was decided on it.
    /// Whoever decides and appends nothing takes <see cref="AskStateAsync"/>.</summary>
    /// <returns>One that was removed when there is none.</returns>
    public async Task<VolumeState> StateAsync(Guid volumeId, CancellationToken cancellation) =>
        _volumes.TryGetValue(volumeId, out var volume) && volume.IsWhole ? volume.State : await AskStateAsync(volumeId, cancellation);

    /// <summary>The state of a volume, without its checkpoints, asked of the stream.</summary>
    /// <returns>One that was removed when there is none.</returns>
    public async Task<VolumeState> AskStateAsync(Guid volumeId, CancellationToken cancellation)
    {
        var state = await LoadAsync(volumeId, cancellation);
        if (_volumes.TryGetValue(volumeId, out var volume) && volume.State.Event != state.Event)
            Forget(volumeId);
        return state;
    }

    /// <summary>A command is known to be appended: the stream stands behind it now.</summary>
    public void Appended(StreamAppend append)
    {
        if (_volumes.TryGetValue(append.VolumeId, out var volume) && !volume.TryFollow(append))
            Forget(append.VolumeId);
    }

    /// <summary>Whether something is worth a block, or the Agent is to hear what a command or a query has shipped, or it is not
    /// known: looks at the journal only.</summary>
    /// <exception cref="CorruptionException">The journal is damaged; said once.</exception>
    public bool IsRipe(Guid volumeId)
    {
        if (!_volumes.TryGetValue(volumeId, out var volume))
            return true;
        return volume.TryFill() && (IsRipe(volume) || IsToRelease(volume));
    }

    /// <summary>Ships what is worth a block: 4,096 writes, or what has waited for a second; and what stands behind it. Tells the
    /// Agent what is in the stream, whoever has shipped it.</summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Whether there may be more at once; false for a journal whose damage was thrown before.</returns>
    /// <exception cref="CorruptionException">The journal is damaged.</exception>
    public async Task<bool> ShipRipeAsync(Guid volumeId, CancellationToken cancellation)
    {
        var volume = await OpenAsync(volumeId, cancellation);
        if (!volume.TryFill())
            return false;
        var more = false;
        if (IsRipe(volume))
        {
            var through = await DurableAsync(volumeId, volume, cancellation);
            more = await ShipAsync(volumeId, volume, through, ShipmentsMax, cancellation);
        }

        await ReleaseAsync(volumeId, volume, cancellation);
        return more;
    }

    /// <summary>Ships everything up to an LSN that the journal holds.</summary>
    /// <returns>Number of the last event of the stream.</returns>
    /// <exception cref="LedgerException">Some of it is not durable, and the Agent does not make it so.</exception>
    public async Task<long> ShipThroughAsync(Guid volumeId, long lsn, CancellationToken cancellation)
    {
        var volume = await OpenAsync(volumeId, cancellation);
        var through = Math.Min(lsn, await DurableAsync(volumeId, volume, cancellation));
        await ShipAsync(volumeId, volume, through, int.MaxValue, cancellation);
        // What the Agent made durable is all that was there when it was asked; without it there may be more.
        if (through < lsn && !agent.IsConnected && volume.HasWaiting(lsn))
            throw new LedgerException(
                ErrorCode.Busy, "the newest writes are not known to be durable yet, and the agent does not say", "try again");
        return volume.State.Event;
    }

    /// <summary>Ships everything that the journal holds now.</summary>
    public Task<long> ShipAllAsync(Guid volumeId, CancellationToken cancellation) =>
        ShipThroughAsync(volumeId, long.MaxValue, cancellation);

    /// <summary>Somebody else appended, or it is not known who did: the stream is asked again.</summary>
    public void Forget(Guid volumeId)
    {
        if (_volumes.TryRemove(volumeId, out var volume))
            volume.Dispose();
    }

    private static bool IsRipe(ShippingVolume volume) => volume.Waiting >= BlockGood || volume.Waits >= _ageMax;

    private bool IsToRelease(ShippingVolume volume) => agent.IsConnected && volume.State.LastLsn > volume.ReleasedLsn;

    private async Task<ShippingVolume> OpenAsync(Guid volumeId, CancellationToken cancellation)
    {
        if (_volumes.TryGetValue(volumeId, out var open))
            return open;
        return _volumes[volumeId] = new(settings.Journal(volumeId), await LoadAsync(volumeId, cancellation), clock);
    }

    private async Task<VolumeState> LoadAsync(Guid volumeId, CancellationToken cancellation) =>
        await streams.LoadAsync(volumeId, cancellation) ?? new VolumeState { Id = volumeId, Removed = true };

    /// <summary>
    /// The LSN up to which records may be shipped: a power loss must not take from the journal what the ledger has. What the
    /// Agent has closed is durable; while it is away, what it said last counts.
    /// </summary>
    private async Task<long> DurableAsync(Guid volumeId, ShippingVolume volume, CancellationToken cancellation)
    {
        if (!volume.IsPower)
            return long.MaxValue;
        try
        {
            if (agent.IsConnected)
                _durable[volumeId] = ((Durable)await agent.AskAsync(new MakeDurable(volumeId), cancellation)).Lsn;
        }
        catch (LedgerException closed) when (closed.Code == ErrorCode.NotFound)
        {
            return long.MaxValue;
        }
        catch (LedgerException)
        {
            // What it said before still holds.
        }

        return _durable.GetValueOrDefault(volumeId);
    }

    /// <summary>Appends one shipment after the other; while one is committed the next is read and packed.</summary>
    /// <returns>Whether there may be more at once.</returns>
    private async Task<bool> ShipAsync(
        Guid volumeId, ShippingVolume volume, long throughLsn, int shipmentsMax, CancellationToken cancellation)
    {
        try
        {
            var shipment = volume.Take(throughLsn);
            for (var shipped = 1; shipment is not null; shipped++)
            {
                var appending = AppendAsync(volumeId, volume.State.Event, shipment, cancellation);
                Shipment? next = null;
                try
                {
                    if (shipment.IsFull && shipped < shipmentsMax)
                        next = volume.Take(throughLsn);
                }
                finally
                {
                    await appending;
                }

                volume.Shipped(shipment);
                if (next is null)
                    return shipment.IsFull;
                // Writers that wait for room in the journal do not wait for the end of a backlog.
                if (shipped % ShipmentsMax == 0)
                    await ReleaseAsync(volumeId, volume, cancellation);
                shipment = next;
            }

            return false;
        }
        catch
        {
            Forget(volumeId);
            throw;
        }
    }

    private async Task AppendAsync(Guid volumeId, long lastEvent, Shipment shipment, CancellationToken cancellation)
    {
        using var span = LedgerTelemetry.Source.StartActivity("ship");
        var begun = clock.GetTimestamp();
        await streams.AppendAsync([new(volumeId, lastEvent, shipment.Events)], origin: null, record: null, cancellation);
        LedgerTelemetry.CommitSeconds.Record(clock.GetElapsedTime(begun).TotalSeconds);
        foreach (var writes in shipment.Events.Select(e => e.Data).OfType<WritesRecorded>())
        {
            LedgerTelemetry.BatchWrites.Record(writes.Packed.Count);
            LedgerTelemetry.ShippedWrites.Add(writes.Packed.Count);
            LedgerTelemetry.ShippedBytes.Add(writes.Packed.Bytes.Length);
        }
    }

    private async Task ReleaseAsync(Guid volumeId, ShippingVolume volume, CancellationToken cancellation)
    {
        if (!IsToRelease(volume))
            return;
        var lsn = volume.State.LastLsn;
        try
        {
            await agent.AskAsync(new Release(volumeId, lsn), cancellation);
        }
        catch (LedgerException)
        {
            // The Agent keeps the segments a little longer; the next block, or the next meeting, says it again.
        }

        volume.ReleasedLsn = lsn;
    }
}
