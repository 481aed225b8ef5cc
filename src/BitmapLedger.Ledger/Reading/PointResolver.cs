using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>A point that was asked for, and the position that it is.</summary>
/// <param name="Asked">As it was written.</param>
/// <param name="At">Where it is.</param>
public sealed record ResolvedPoint(string Asked, Position At)
{
    /// <summary>Where it would be as the beginning of a range, when it lies among writes that were coalesced: before all of
    /// them, as <see cref="At"/> is behind all of them. Null when it is where it was asked for.</summary>
    public Position? Before { get; init; }

    /// <summary>The coalesced writes that it lies among; empty when there are none.</summary>
    public IReadOnlyList<Gap> Gaps { get; init; } = [];

    /// <summary>As answers show it.</summary>
    public PositionAnswer Answer => new(Asked, At.Event, At.Lsn, Timestamps.Show(At.Time));
}

/// <summary>
/// Turns points into positions. Event numbers, LSNs and times all grow along a stream, so each is found by looking at the
/// beginnings of few events; one is read whole, and only where a point may lie inside it.
/// </summary>
/// <param name="index">The history.</param>
/// <param name="streams">Finds states.</param>
/// <param name="lanes">Held while the newest writes are shipped.</param>
/// <param name="shipper">Ships them.</param>
/// <param name="clock">Says what time it is.</param>
public sealed class PointResolver(
    HistoryIndex index, VolumeStreams streams, Lanes lanes, Shipper shipper, TimeProvider clock)
{
    /// <summary>Events among which commands are looked for at a time.</summary>
    private const int CommandsAtOnce = 256;

    /// <summary>The state of a volume after everything recorded up to now, without its checkpoints.</summary>
    public async Task<VolumeState> CurrentAsync(string volume, CancellationToken cancellation)
    {
        var id = await streams.IdAsync(volume, cancellation);
        return (await CurrentAsync(id, cancellation))!;
    }

    /// <summary>The same of the volume of an id; null when there never was one.</summary>
    public async Task<VolumeState?> CurrentAsync(Guid volumeId, CancellationToken cancellation)
    {
        using (await lanes.TakeAsync([volumeId], cancellation))
            await shipper.ShipAllAsync(volumeId, cancellation);
        return await streams.LoadAsync(volumeId, cancellation);
    }

    /// <summary>Resolves a point of a volume.</summary>
    /// <param name="text">As it was written.</param>
    /// <param name="state">The volume now.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">It is none, or lies outside the history.</exception>
    public async Task<ResolvedPoint> ResolveAsync(string text, VolumeState state, CancellationToken cancellation)
    {
        var point = Point.TryParse(text, out var fault) ?? throw new LedgerException(ErrorCode.BadPoint, fault);
        await using var look = await index.LookAsync(state.Id, cancellation);
        var resolved = await ResolveAsync(point, text, look, state, cancellation);
        // What has a name stays, however old it is.
        var place = resolved.Before ?? resolved.At;
        return point is Point.AtCheckpoint or Point.AtSlice || state.Retained?.KeptFrom is not { } kept
            || (place.Event, place.Lsn).CompareTo((kept.Event, kept.Lsn)) >= 0
            ? resolved
            : throw Gone(text, state, kept);
    }

    /// <summary>Resolves both ends of a range, and refuses one that ends before it begins.</summary>
    public async Task<(ResolvedPoint From, ResolvedPoint To)> RangeAsync(
        string from, string to, VolumeState state, CancellationToken cancellation)
    {
        var first = await ResolveAsync(from, state, cancellation);
        first = first with { At = first.Before ?? first.At };
        var last = await ResolveAsync(to, state, cancellation);
        return (first.At.Event, first.At.Lsn).CompareTo((last.At.Event, last.At.Lsn)) <= 0
            ? (first, last)
            : throw new LedgerException(ErrorCode.BadPoint, $"from '{from}' is later than to '{to}'", "exchange them");
    }

    /// <summary>The earliest point that can be asked about.</summary>
    public static string Beginning(VolumeState state) => state.Retained?.KeptFrom is { } kept ? $"event:{kept.Event}" : "start";

    /// <summary>What a question about everything cannot be answered for.</summary>
    public static IReadOnlyList<Gap> Forgotten(VolumeState state) =>
        state.Retained?.KeptFrom is { } kept ? [new(0, kept.Lsn, HistoryCoalesced.WhyGone)] : [];

    /// <summary>Behind the last event that had happened at an instant, all of it; null when there is none.</summary>
    public async Task<Position?> LastThroughAsync(VolumeState state, DateTimeOffset time, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        var last = await EventSearch.LastAsync(look, state.Event, e => e.Time <= time, cancellation);
        return last == 0 ? null : Behind(await look.AtOrAfterAsync(last, cancellation));
    }

    /// <summary>The later of the wall clock and what is recorded: the clock may have been set back since.</summary>
    public async Task<DateTimeOffset> LatestAsync(VolumeState state, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        return await LatestAsync(look, state, cancellation);
    }

    /// <summary>When the last event happened.</summary>
    public async Task<DateTimeOffset> LatestRecordedAsync(VolumeState state, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        return await LatestRecordedAsync(look, state, cancellation);
    }

    private async Task<ResolvedPoint> ResolveAsync(
        Point point, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        switch (point)
        {
            case Point.Now:
                return new(text, new(state.Event, state.LastLsn, await LatestAsync(look, state, cancellation)));
            case Point.Start:
                return new(text, new(1, 0, state.Created));
            case Point.AtEvent { Number: var number }:
                return number <= state.Event
                    ? await AtEventAsync(number, text, look, cancellation)
                    : throw Future(text, $"the last event is {state.Event}");
            case Point.AtLsn { Number: var lsn }:
                return lsn <= state.LastLsn
                    ? await AtLsnAsync(lsn, text, look, state, cancellation)
                    : throw Future(text, $"the last write is {state.LastLsn}");
            case Point.AtCheckpoint { Name: var name }:
                return await streams.CheckpointAsync(state.Id, name, cancellation) is { } checkpoint
                    ? new(text, new(checkpoint.Event, checkpoint.Lsn, checkpoint.Time))
                    : throw new LedgerException(
                        ErrorCode.NotFound, $"Checkpoint '{name}' of volume '{state.Name}' not found");
            case Point.AtSlice { Bitmap: var bitmap, Number: var number, Begin: var begin }:
                return state.Bitmap(bitmap)?.Slice(number) is { } slice
                    ? new(text, begin ? slice.From : slice.To)
                    : throw new LedgerException(ErrorCode.NotFound, $"Slice {number} of bitmap '{bitmap}' not found");
            case Point.AtInstant { Time: var time }:
                var now = await LatestAsync(look, state, cancellation);
                return time <= now
                    ? await AtInstantAsync(time, text, look, state, cancellation)
                    : throw Future(text, $"it is {Timestamps.Show(now)}");
            case Point.Ago { Span: var span }:
                var latest = await LatestAsync(look, state, cancellation);
                var then = span < latest - DateTimeOffset.UnixEpoch ? latest - span : DateTimeOffset.UnixEpoch;
                return await AtInstantAsync(then, text, look, state, cancellation);
            default:
                throw new LedgerException(ErrorCode.BadPoint, $"'{text}' is no point in time");
        }
    }

    private async Task<DateTimeOffset> LatestAsync(HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        var wall = clock.GetUtcNow();
        var recorded = await LatestRecordedAsync(look, state, cancellation);
        return recorded > wall ? recorded : wall;
    }

    /// <summary>Writes that were the last ones may have been coalesced since, with later ones.</summary>
    private static async Task<DateTimeOffset> LatestRecordedAsync(
        HistorySnapshot look, VolumeState state, CancellationToken cancellation) =>
        (await look.HeadsAsync([state.Event], cancellation))[0].Time;

    private static async Task<ResolvedPoint> AtEventAsync(
        long number, string text, HistorySnapshot look, CancellationToken cancellation)
    {
        var found = await look.AtOrAfterAsync(number, cancellation);
        return found.Number == number ? new(text, Behind(found)) : await AmongAsync(found, text, look, cancellation);
    }

    private static async Task<ResolvedPoint> AtLsnAsync(
        long lsn, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        if (lsn == 0)
            return new(text, new(1, 0, state.Created));
        var number = await EventSearch.LastAsync(look, state.Event, e => e.FirstLsn <= lsn, cancellation);
        var holder = await look.AtOrAfterAsync(number, cancellation);
        if (holder.Data is HistoryCoalesced { Coalesced.Span.LastLsn: var lastLsn } && lsn < lastLsn)
            return await AmongAsync(holder, text, look, cancellation);
        if (holder.Data is WritesRecorded { Packed: var packed } && lsn <= packed.LastLsn)
        {
            var at = Cut(packed, new(number, 0, holder.Time), w => w.Lsn <= lsn);
            return at.Lsn > 0 || await AroundLossAsync(packed.FirstLsn - 1, lsn, text, look, state, cancellation) is not { } lost
                ? new(text, at with { Lsn = lsn })
                : lost;
        }

        var last = holder.Data is TrackingLost gap && lsn <= gap.ToLsn ? gap.FromLsn : EventLsn.Last(holder.Data);
        return last < lsn && await AroundLossAsync(last, lsn, text, look, state, cancellation) is { } around
            ? around
            : new(text, new(number, lsn, holder.Time));
    }

    /// <summary>An LSN that no write of the history has, given in a stretch that was lost: who was told of it before may have read
    /// what those writes left. As the beginning of a range it lies before all that the loss may have undone, as its end behind.</summary>
    /// <param name="before">LSN of the last write before it.</param>
    /// <param name="lsn">It.</param>
    /// <param name="text">As it was written.</param>
    /// <param name="look">The history.</param>
    /// <param name="state">The volume now.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Null when nothing was lost there: LSNs were passed over.</returns>
    private static async Task<ResolvedPoint?> AroundLossAsync(
        long before, long lsn, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        var begin = await AtLsnAsync(before, text, look, state, cancellation);
        Position? behind = null;
        var ends = false;
        for (var through = begin.At.Event; !ends && through < state.Event; through += CommandsAtOnce)
        {
            await foreach (var row in look.CommandsAsync(through, Math.Min(through + CommandsAtOnce, state.Event), cancellation))
            {
                var command = (ICommandEvent)row.Data();
                ends = (command is TrackingLost lost ? lost.FromLsn : command.AtLsn) >= lsn;
                if (ends)
                    break;
                if (command is TrackingLost or WritesRecovered)
                    behind = new(row.Number, command.AtLsn, row.Time);
            }
        }

        return behind is { } at ? new(text, at) { Before = begin.Before ?? begin.At, Gaps = begin.Gaps } : null;
    }

    private static async Task<ResolvedPoint> AtInstantAsync(
        DateTimeOffset time, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        if (time < state.Created)
            throw Gone(text, state, new(1, 0, state.Created));
        var limit = Timestamps.ToMicroseconds(time);
        var before = await EventSearch.LastAsync(look, state.Event, e => e.Time <= time, cancellation);
        if (before >= state.Event)
            return new(text, new(state.Event, state.LastLsn, time));
        var next = await look.AtOrAfterAsync(before + 1, cancellation);
        if (next.Data is HistoryCoalesced { Coalesced.Span.FirstTimeMicroseconds: var began } && began <= limit)
            return await AmongAsync(next, text, look, cancellation);
        if (next.Data is WritesRecorded { Packed: var packed } && packed.FirstTimeMicroseconds <= limit)
            return new(text, Cut(packed, new(next.Number, packed.FirstLsn, time), w => w.TimeMicroseconds <= limit) with { Time = time });
        return new(text, Behind(await look.AtOrAfterAsync(before, cancellation)) with { Time = time });
    }

    /// <summary>Somewhere among writes that were coalesced: which of them came before is not known any more.</summary>
    private static async Task<ResolvedPoint> AmongAsync(
        (long Number, DateTimeOffset Time, IVolumeEvent Data) holder, string text, HistorySnapshot look, CancellationToken cancellation)
    {
        var coalesced = (HistoryCoalesced)holder.Data;
        var span = coalesced.Coalesced.Span;
        var before = await look.AtOrAfterAsync(span.FirstEvent - 1, cancellation);
        return new(text, Behind(holder))
        {
            Before = new(before.Number, span.FirstLsn - 1, before.Time),
            Gaps = [coalesced.Gap],
        };
    }

    private static Position Behind((long Number, DateTimeOffset Time, IVolumeEvent Data) happened) =>
        new(happened.Number, EventLsn.Last(happened.Data), happened.Time);

    /// <summary>A position inside an event of writes: behind the last one that belongs.</summary>
    private static Position Cut(PackedWrites packed, Position at, Func<SingleWrite, bool> belongs)
    {
        foreach (var write in packed)
        {
            if (!belongs(write))
                break;
            at = at with { Lsn = write.Lsn, Time = Timestamps.FromMicroseconds(write.TimeMicroseconds) };
        }

        return at;
    }

    private static LedgerException Gone(string text, VolumeState state, Position kept)
    {
        var from = Timestamps.Show(kept.Time);
        return new(
            ErrorCode.HistoryGone, $"'{text}' is before the kept history of volume '{state.Name}', which begins at {from}",
            kept.Event == 1 ? "ask from start" : $"ask from event:{kept.Event}, or from a checkpoint or slice", from);
    }

    private static LedgerException Future(string text, string why) =>
        new(ErrorCode.BadPoint, $"'{text}' lies in the future: {why}");
}
