using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using JasperFx.Events;

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
/// Turns points into positions. Event numbers, LSNs and times all grow along a stream, so each is found by halving it.
/// </summary>
/// <param name="reader">Reads events.</param>
/// <param name="streams">Finds states.</param>
/// <param name="lanes">Held while the newest writes are shipped.</param>
/// <param name="shipper">Ships them.</param>
/// <param name="clock">Says what time it is.</param>
public sealed class PointResolver(
    EventReader reader, VolumeStreams streams, Lanes lanes, Shipper shipper, TimeProvider clock)
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
        return new(text, await ResolveAsync(point, text, state, cancellation));
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
        Point point, string text, VolumeState state, CancellationToken cancellation)
    {
        switch (point)
        {
            case Point.Now:
                return new(state.Event, state.LastLsn, await LatestAsync(state, cancellation));
            case Point.Start:
                return new(1, 0, state.Created);
            case Point.AtEvent { Number: var number }:
                return number <= state.Event
                    ? Behind((await reader.OneAsync(state.Id, number, cancellation))!)
                    : throw Future(text, $"the last event is {state.Event}");
            case Point.AtLsn { Number: var lsn }:
                return lsn <= state.LastLsn
                    ? await AtLsnAsync(lsn, state, cancellation)
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
                var now = await LatestAsync(state, cancellation);
                return time <= now
                    ? await AtInstantAsync(time, text, state, cancellation)
                    : throw Future(text, $"it is {Timestamps.Show(now)}");
            case Point.Ago { Span: var span }:
                var latest = await LatestAsync(state, cancellation);
                var then = span < latest - DateTimeOffset.UnixEpoch ? latest - span : DateTimeOffset.UnixEpoch;
                return await AtInstantAsync(then, text, state, cancellation);
            default:
                throw new LedgerException(ErrorCode.BadPoint, $"'{text}' is no point in time");
        }
    }

    /// <summary>The later of the wall clock and what is recorded: the clock may have been set back since.</summary>
    private async Task<DateTimeOffset> LatestAsync(VolumeState state, CancellationToken cancellation)
    {
        var wall = clock.GetUtcNow();
        var recorded = (await reader.OneAsync(state.Id, state.Event, cancellation))!.Timestamp;
        return recorded > wall ? recorded : wall;
    }

    private async Task<Position> AtLsnAsync(long lsn, VolumeState state, CancellationToken cancellation)
    {
        if (lsn == 0)
            return new(1, 0, state.Created);
        var holder = await FirstAsync(state, e => LastLsn(e) >= lsn, cancellation);
        return Cut(holder!, w => w.Lsn <= lsn, lsn);
    }

    private async Task<Position> AtInstantAsync(
        DateTimeOffset time, string text, VolumeState state, CancellationToken cancellation)
    {
        if (time < state.Created)
        {
            var created = Timestamps.Show(state.Created);
            throw new LedgerException(
                ErrorCode.HistoryGone, $"'{text}' is before the kept history of volume '{state.Name}', which begins at {created}",
                "ask from start", created);
        }

        var limit = Timestamps.ToMicroseconds(time);
        var next = await FirstAsync(state, e => e.Timestamp > time, cancellation);
        if (next is null)
            return new(state.Event, state.LastLsn, time);
        if (next.Data is WritesRecorded { Packed.FirstTimeMicroseconds: var first } && first <= limit)
            return Cut(next, w => w.TimeMicroseconds <= limit, long.MaxValue) with { Time = time };
        var before = (await reader.OneAsync(state.Id, next.Version - 1, cancellation))!;
        return Behind(before) with { Time = time };
    }

    /// <summary>The first event for which something holds that holds for every later one too.</summary>
    private async Task<IEvent?> FirstAsync(VolumeState state, Func<IEvent, bool> holds, CancellationToken cancellation)
    {
        IEvent? found = null;
        long low = 1, high = state.Event;
        while (low <= high)
        {
            var middle = low + (high - low) / 2;
            var candidate = (await reader.OneAsync(state.Id, middle, cancellation))!;
            if (holds(candidate))
                (found, high) = (candidate, middle - 1);
            else
                low = middle + 1;
        }

        return found;
    }

    private static Position Behind(IEvent happened) => new(happened.Version, LastLsn(happened), happened.Timestamp);

    private static long LastLsn(IEvent happened) => happened.Data switch
    {
        WritesRecorded writes => writes.Packed.LastLsn,
        ICommandEvent command => command.AtLsn,
        _ => 0,
    };

    /// <summary>A position inside an event of writes: behind the last one that belongs.</summary>
    private static Position Cut(IEvent holder, Func<Bitmaps.Writes.SingleWrite, bool> belongs, long lsn)
    {
        var at = new Position(holder.Version, lsn, holder.Timestamp);
        if (holder.Data is not WritesRecorded writes)
            return at;
        foreach (var write in writes.Packed)
        {
            if (!belongs(write))
                break;
            at = new(holder.Version, lsn == long.MaxValue ? write.Lsn : lsn, Timestamps.FromMicroseconds(
                write.TimeMicroseconds));
        }

        return at;
    }

    private static LedgerException Future(string text, string why) =>
        new(ErrorCode.BadPoint, $"'{text}' lies in the future: {why}");
}
