using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>
/// Carries commands out, in the order that keeps every write on one side of them: decide (a refusal rotates nothing),
/// rotate, ship to the fence, decide for the place that the fence gave, append, tell the Agent what the bitmaps are
/// now.
/// </summary>
public static class CarryOutHandler
{
    /// <summary>Wolverine's entry. Runs inside the lanes of all volumes named.</summary>
    public static async Task<CommandOutcome> HandleAsync(
        CarryOut message, VolumeStreams streams, Shipper shipper, IAgent agent, CancellationToken cancellation)
    {
        // The same id may have been waiting for the lane, too.
        if (message.Origin.CommandId is { } id && await streams.RecordAsync(id, cancellation) is { } earlier)
            return new(earlier.Repeat(message.Fingerprint), Refusal: null);

        // Somebody who names an event has seen the stream.
        var places = await PlacesAsync(
            message, message.Origin.ExpectedEvent is null ? shipper.StateAsync : shipper.AskStateAsync, streams, cancellation);
        var wanted = TransactionDecider.Decide(message.Actions, places);
        // What is appended at the wrong event is refused by the stream; where nothing is, it has to be asked.
        if (wanted.Refusal is not null || wanted.Volumes.Any(v => v.Events.Count == 0))
        {
            places = await PlacesAsync(message, shipper.AskStateAsync, streams, cancellation);
            wanted = TransactionDecider.Decide(message.Actions, places);
        }

        if (wanted.Refusal is { } refusal)
            return new([], refusal);

        var fences = await RotateAsync(wanted.Volumes, agent, cancellation);
        try
        {
            return await RecordAsync(message, places, fences, streams, shipper, agent, cancellation);
        }
        catch when (wanted.Volumes.Any(IsResized))
        {
            // The Agent has resized already: a meeting records that.
            agent.MeetAgain();
            throw;
        }
    }

    private static async Task<List<VolumePlace>> PlacesAsync(
        CarryOut message, Func<Guid, CancellationToken, Task<VolumeState>> stateAsync, VolumeStreams streams, CancellationToken cancellation)
    {
        List<VolumePlace> places = [];
        foreach (var volumeId in message.VolumeIds)
        {
            var state = await streams.WithCheckpointsAsync(
                await stateAsync(volumeId, cancellation), [.. message.Checkpoints(volumeId)], cancellation);
            if (message.Commands(volumeId))
                await streams.RequireAsync(state, message.Origin, cancellation);
            places.Add(new(state, state.LastLsn, DateTimeOffset.MaxValue)
            {
                Run = message.Agent.Run,
                IsExported = message.Agent.Exports.Offers(volumeId),
                ExportedBitmaps = [.. message.Agent.Exports.Shown(volumeId)],
            });
        }

        return places;
    }

    /// <summary>Records what was cut: ships to the fences, decides for the places that they gave, appends, settles.</summary>
    private static async Task<CommandOutcome> RecordAsync(
        CarryOut message, List<VolumePlace> places, IReadOnlyList<Fence> fences, VolumeStreams streams, Shipper shipper,
        IAgent agent, CancellationToken cancellation)
    {
        for (var i = 0; i < places.Count; i++)
        {
            await shipper.ShipThroughAsync(fences[i].Id, fences[i].Lsn, cancellation);
            var state = await shipper.StateAsync(fences[i].Id, cancellation);
            places[i] = places[i] with
            {
                State = await streams.WithCheckpointsAsync(state, [.. message.Checkpoints(state.Id)], cancellation),
                AtLsn = fences[i].Lsn,
                Now = Timestamps.FromMicroseconds(fences[i].TimeMicroseconds),
            };
        }

        var decided = await ForeignBits.FillAsync(TransactionDecider.Decide(message.Actions, places), fences, agent, cancellation);
        if (decided.Refusal is { } refusal)
        {
            // Somebody else was quicker. The Agent waits at the fence, and is met.
            agent.MeetAgain();
            return new([], refusal);
        }

        List<Cut> cuts = [.. decided.Volumes.Zip(places, fences).Select(c => new Cut(c.Third, c.Second.Now, c.First))];
        IReadOnlyList<CommandAnswer> answers = [.. cuts.Where(c => message.Commands(c.Fence.Id)).Select(Answer)];
        if (await AppendAsync(message, cuts, answers, streams, shipper, agent, cancellation) is { } first)
        {
            agent.MeetAgain();
            return new(first.Repeat(message.Fingerprint), Refusal: null);
        }

        await SettleAsync(cuts, agent);
        return new(answers, Refusal: null);
    }

    private static bool IsResized(VolumeDecision volume) => volume.Before.Size != volume.After.Size;

    /// <summary>Cuts the volumes; those that get another size get it at the cut.</summary>
    private static async Task<IReadOnlyList<Fence>> RotateAsync(
        IReadOnlyList<VolumeDecision> wanted, IAgent agent, CancellationToken cancellation)
    {
        try
        {
            return await agent.RotateAsync(
                [.. wanted.Select(v => new RotateVolume(
                    v.Before.Id, BitTransfer.Finest(v.After).Bytes, IsResized(v) ? v.After.Size : null))],
                cancellation);
        }
        catch (Exception unknown) when (wanted.Any(IsResized) && unknown is not LedgerException { IsTransient: false })
        {
            // It may have been done all the same: a meeting finds out.
            agent.MeetAgain();
            throw;
        }
    }

    private static async Task<CommandRecord?> AppendAsync(
        CarryOut message, List<Cut> cuts, IReadOnlyList<CommandAnswer> answers, VolumeStreams streams,
        Shipper shipper, IAgent agent, CancellationToken cancellation)
    {
        var appends = cuts.Select(d => new StreamAppend(
            d.Fence.Id, d.Decision.Before.Event, [.. d.Decision.Events.Select(e => new TimedEvent(e, d.Time))])).ToList();
        var done = false;
        try
        {
            var first = await streams.AppendAsync(
                appends, message.Origin, CommandRecord.Of(message.Origin, message.Fingerprint, answers), cancellation);
            done = first is null;
            return first;
        }
        catch (Exception unknown) when (unknown is OperationCanceledException or LedgerException { IsTransient: true })
        {
            // It may stand in the ledger all the same: a meeting finds out and tells the Agent.
            agent.MeetAgain();
            throw;
        }
        finally
        {
            foreach (var append in appends)
            {
                if (done)
                    shipper.Appended(append);
                else
                    shipper.Forget(append.VolumeId);
            }
        }
    }

    /// <summary>What is appended has happened, whether the Agent hears of it now or when it is met again.</summary>
    private static async Task SettleAsync(List<Cut> cuts, IAgent agent)
    {
        try
        {
            foreach (var (fence, _, decision) in cuts)
                await agent.AskAsync(Settlements.Of(fence, decision, agent.BitsDirectory), CancellationToken.None);
        }
        catch (LedgerException)
        {
            agent.MeetAgain();
        }
    }

    private static CommandAnswer Answer(Cut cut)
    {
        var banked = cut.Decision.Events.OfType<SliceBanked>().Select(e => new SliceId(e.Bitmap, e.Slice)).ToList();
        var dropped = cut.Decision.Events.OfType<SliceDropped>().Select(e => new SliceId(e.Bitmap, e.Slice)).ToList();
        return new(cut.Decision.Before.Name, cut.Decision.After.Event, cut.Fence.Lsn, Timestamps.Show(cut.Time))
        {
            Slices = banked.Count > 0 ? banked : null,
            DroppedSlices = dropped.Count > 0 ? dropped : null,
        };
    }

    private sealed record Cut(Fence Fence, DateTimeOffset Time, VolumeDecision Decision);
}
