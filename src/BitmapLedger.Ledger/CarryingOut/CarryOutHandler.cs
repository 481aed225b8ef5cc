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
        var fingerprint = Fingerprint(message);
        if (message.Origin.CommandId is { } id && await streams.RecordAsync(id, cancellation) is { } earlier)
            return Repeat(earlier, fingerprint);

        List<(VolumeOrder Order, VolumeState State)> volumes = [];
        foreach (var order in message.Orders)
        {
            var state = await streams.LoadAsync(order.VolumeId, cancellation) ?? new VolumeState { Removed = true };
            if (VolumeDecider.Decide(
                order.Commands, state, state.LastLsn, DateTimeOffset.MaxValue).Refusal is { } refusal)
                return await RefuseAsync(message, fingerprint, refusal, streams, cancellation);
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

        CommandOutcome outcome = new([.. decided.Select(Answer)], Refusal: null);
        await AppendAsync(message, fingerprint, decided, outcome, streams, shipper, cancellation);
        foreach (var (fence, _, state, decision) in decided)
            await agent.AskAsync(
                Settlement(fence, BitTransfer.Of(state, decision.Events, decision.After)), cancellation);
        return outcome;
    }

    /// <summary>The bitmaps of a volume at a fence, for the Agent.</summary>
    public static Settle Settlement(Fence fence, IReadOnlyList<BitTransfer> transfers) => new(
        fence.Id, fence.Number,
        [.. transfers.Select(
            t => new BitmapSource(t.Bitmap.Name, t.Bitmap.Granularity, t.Bitmap.Recording, t.From, File: null))]);

    private static RotateVolume Rotation(VolumeOrder order, VolumeState state) => new(
        order.VolumeId,
        BitTransfer.Finest(
            VolumeDecider.Decide(order.Commands, state, state.LastLsn, DateTimeOffset.MaxValue).After).Bytes);

    private static async Task AppendAsync(
        CarryOut message, string fingerprint, List<Decided> decided, CommandOutcome outcome, VolumeStreams streams,
        Shipper shipper, CancellationToken cancellation)
    {
        var appends = decided.Select(d => new StreamAppend(
            d.Fence.Id, d.State.Event, [.. d.Decision.Events.Select(e => new TimedEvent(e, d.Time))])).ToList();
        try
        {
            await streams.AppendAsync(appends, message.Origin, Record(message, fingerprint, outcome), cancellation);
        }
        finally
        {
            foreach (var append in appends)
                shipper.Forget(append.VolumeId);
        }
    }

    private static CommandAnswer Answer(Decided decided) => new(
        decided.State.Name, decided.Decision.After.Event, decided.Fence.Lsn, Timestamps.Show(decided.Time));

    private static async Task<CommandOutcome> RefuseAsync(
        CarryOut message, string fingerprint, Domain.Refusal refusal, VolumeStreams streams, CancellationToken cancellation)
    {
        CommandOutcome outcome = new([], refusal);
        if (Record(message, fingerprint, outcome) is { } record)
            await streams.AppendAsync([], message.Origin, record, cancellation);
        return outcome;
    }

    private static CommandOutcome Repeat(CommandRecord earlier, string fingerprint) =>
        earlier.RefuseOther(fingerprint) is { } refusal ? new([], refusal) : new(earlier.Answers, earlier.Refusal);

    private static CommandRecord? Record(CarryOut message, string fingerprint, CommandOutcome outcome) =>
        message.Origin.CommandId is { } id
            ? new() { Id = id, Fingerprint = fingerprint, Answers = outcome.Answers, Refusal = outcome.Refusal }
            : null;

    private static string Fingerprint(CarryOut message) =>
        string.Join('\n', message.Orders.SelectMany(o => o.Commands.Select(c => $"{o.VolumeId} {c}")));

    private sealed record Decided(Fence Fence, DateTimeOffset Time, VolumeState State, Decision Decision);
}
