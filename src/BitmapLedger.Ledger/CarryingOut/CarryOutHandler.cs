using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
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

        List<(VolumeOrder Order, VolumeState State)> volumes = [];
        foreach (var order in message.Orders)
        {
            var state = await streams.LoadAsync(order.VolumeId, cancellation) ?? new VolumeState { Removed = true };
            if (VolumeDecider.Decide(
                order.Commands, state, state.LastLsn, DateTimeOffset.MaxValue).Refusal is { } refusal)
                return new([], refusal);
            volumes.Add((order, state));
        }

        var fences = await agent.RotateAsync([.. volumes.Select(v => Rotation(v.Order, v.State))], cancellation);
        List<Decided> decided = [];
        foreach (var ((order, _), fence) in volumes.Zip(fences))
        {
            await shipper.ShipThroughAsync(order.VolumeId, fence.Lsn, cancellation);
            var state = (await streams.LoadAsync(order.VolumeId, cancellation))!;
            var time = Timestamps.FromMicroseconds(fence.TimeMicroseconds);
            decided.Add(new(fence, time, state, VolumeDecider.Decide(order.Commands, state, fence.Lsn, time)));
        }

        IReadOnlyList<CommandAnswer> answers = [.. decided.Select(Answer)];
        if (await AppendAsync(message, decided, answers, streams, shipper, agent, cancellation) is { } first)
            return new(first.Repeat(message.Fingerprint), Refusal: null);
        await SettleAsync(decided, agent);
        return new(answers, Refusal: null);
    }

    /// <summary>The bitmaps of a volume at a fence, for the Agent.</summary>
    public static Settle Settlement(Fence fence, IReadOnlyList<BitTransfer> transfers) => new(
        fence.Id, fence.Number,
        [.. transfers.Select(
            t => new BitmapSource(t.Name, t.Granularity, t.Recording, [.. t.From.Select(f => f.Name)], File: null))]);

    private static RotateVolume Rotation(VolumeOrder order, VolumeState state) => new(
        order.VolumeId,
        BitTransfer.Finest(
            VolumeDecider.Decide(order.Commands, state, state.LastLsn, DateTimeOffset.MaxValue).After).Bytes);

    private static async Task<CommandRecord?> AppendAsync(
        CarryOut message, List<Decided> decided, IReadOnlyList<CommandAnswer> answers, VolumeStreams streams,
        Shipper shipper, IAgent agent, CancellationToken cancellation)
    {
        var appends = decided.Select(d => new StreamAppend(
            d.Fence.Id, d.State.Event, [.. d.Decision.Events.Select(e => new TimedEvent(e, d.Time))])).ToList();
        try
        {
            return await streams.AppendAsync(
                appends, message.Origin, CommandRecord.Of(message.Origin, message.Fingerprint, answers), cancellation);
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
                shipper.Forget(append.VolumeId);
        }
    }

    /// <summary>What is appended has happened, whether the Agent hears of it now or when it is met again.</summary>
    private static async Task SettleAsync(List<Decided> decided, IAgent agent)
    {
        try
        {
            foreach (var (fence, _, state, decision) in decided)
                await agent.AskAsync(
                    Settlement(fence, BitTransfer.Of(state, decision.Events)), CancellationToken.None);
        }
        catch (LedgerException)
        {
            agent.MeetAgain();
        }
    }

    private static CommandAnswer Answer(Decided decided) => new(
        decided.State.Name, decided.Decision.After.Event, decided.Fence.Lsn, Timestamps.Show(decided.Time));

    private sealed record Decided(Fence Fence, DateTimeOffset Time, VolumeState State, Decision Decision);
}
