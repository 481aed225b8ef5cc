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
    /// <summary>The state of a volume after everything recorded up to now, without its checkpoints.</summary>
    public async Task<VolumeState> CurrentAsync(string volume, CancellationToken cancellation)
    {
        var id = await streams.IdAsync(volume, cancellation);
        using (await lanes.TakeAsync([id], cancellation))
            await shipper.ShipAllAsync(id, cancellation);
        return (await streams.LoadAsync(id, cancellation))!;
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
        return new(text, await ResolveAsync(point, text, look, state, cancellation));
    }

    /// <summary>Resolves both ends of a range, and refuses one that ends before it begins.</summary>
    public async Task<(ResolvedPoint From, ResolvedPoint To)> RangeAsync(
        string from, string to, VolumeState state, CancellationToken cancellation)
    {
        var first = await ResolveAsync(from, state, cancellation);
        var last = await ResolveAsync(to, state, cancellation);
        return (first.At.Event, first.At.Lsn).CompareTo((last.At.Event, last.At.Lsn)) <= 0
            ? (first, last)
            : throw new LedgerException(ErrorCode.BadPoint, $"from '{from}' is later than to '{to}'", "exchange them");
    }

    private async Task<Position> ResolveAsync(
        Point point, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        switch (point)
        {
            case Point.Now:
                return new(state.Event, state.LastLsn, await LatestAsync(look, state, cancellation));
            case Point.Start:
                return new(1, 0, state.Created);
            case Point.AtEvent { Number: var number }:
                return number <= state.Event
                    ? await BehindAsync(look, number, cancellation)
                    : throw Future(text, $"the last event is {state.Event}");
            case Point.AtLsn { Number: var lsn }:
                return lsn <= state.LastLsn
                    ? await AtLsnAsync(lsn, look, state, cancellation)
                    : throw Future(text, $"the last write is {state.LastLsn}");
            case Point.AtCheckpoint { Name: var name }:
                return await streams.CheckpointAsync(state.Id, name, cancellation) is { } checkpoint
                    ? new(checkpoint.Event, checkpoint.Lsn, checkpoint.Time)
                    : throw new LedgerException(
                        ErrorCode.NotFound, $"Checkpoint '{name}' of volume '{state.Name}' not found");
            case Point.AtSlice { Bitmap: var bitmap, Number: var number, Begin: var begin }:
                return state.Bitmap(bitmap)?.Slice(number) is { } slice
                    ? begin ? slice.From : slice.To
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

    /// <summary>The later of the wall clock and what is recorded: the clock may have been set back since.</summary>
    private async Task<DateTimeOffset> LatestAsync(HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        var wall = clock.GetUtcNow();
        var recorded = (await look.HeadsAsync([state.Event], cancellation))[0].Time;
        return recorded > wall ? recorded : wall;
    }

    private static async Task<Position> AtLsnAsync(
        long lsn, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        if (lsn == 0)
            return new(1, 0, state.Created);
        var holder = await EventSearch.LastAsync(look, state.Event, e => e.FirstLsn <= lsn, cancellation);
        var (time, data) = await look.EventAsync(holder, cancellation);
        return data is WritesRecorded { Packed: var packed }
            ? Cut(packed, new(holder, lsn, time), w => w.Lsn <= lsn) with { Lsn = lsn }
            : new(holder, lsn, time);
    }

    private static async Task<Position> AtInstantAsync(
        DateTimeOffset time, string text, HistorySnapshot look, VolumeState state, CancellationToken cancellation)
    {
        if (time < state.Created)
        {
            var created = Timestamps.Show(state.Created);
            throw new LedgerException(
                ErrorCode.HistoryGone, $"'{text}' is before the kept history of volume '{state.Name}', which begins at {created}",
                "ask from start", created);
        }

        var limit = Timestamps.ToMicroseconds(time);
        var before = await EventSearch.LastAsync(look, state.Event, e => e.Time <= time, cancellation);
        if (before == state.Event)
            return new(state.Event, state.LastLsn, time);
        var next = await look.EventAsync(before + 1, cancellation);
        if (next.Data is WritesRecorded { Packed: var packed } && packed.FirstTimeMicroseconds <= limit)
            return Cut(packed, new(before + 1, packed.FirstLsn, time), w => w.TimeMicroseconds <= limit) with { Time = time };
        return await BehindAsync(look, before, cancellation) with { Time = time };
    }

    private static async Task<Position> BehindAsync(HistorySnapshot look, long number, CancellationToken cancellation)
    {
        var (time, data) = await look.EventAsync(number, cancellation);
        return new(number, LastLsn(data), time);
    }

    private static long LastLsn(IVolumeEvent happened) => happened switch
    {
        WritesRecorded writes => writes.Packed.LastLsn,
        ICommandEvent command => command.AtLsn,
        _ => 0,
    };

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

    private static LedgerException Future(string text, string why) =>
        new(ErrorCode.BadPoint, $"'{text}' lies in the future: {why}");
}
