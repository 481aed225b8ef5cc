using System.Runtime.CompilerServices;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Reading;

/// <summary>What is asked of a history.</summary>
/// <param name="From">First point; null for the start.</param>
/// <param name="To">Last point; null for now.</param>
/// <param name="Types">Names of events; empty for all.</param>
/// <param name="Offset">First byte that writes must touch; null for all.</param>
/// <param name="Length">Bytes from there on; null for the rest of the volume.</param>
public sealed record HistoryFilter(string? From, string? To, IReadOnlyList<string> Types, long? Offset, long? Length)
{
    /// <summary>Most events of an answer; null for all.</summary>
    public int? Limit { get; init; }

    /// <summary>Only events behind this number; null for all.</summary>
    public long? After { get; init; }
}

/// <summary>Events of a volume, and how far they go.</summary>
/// <param name="VolumeId">The volume.</param>
/// <param name="Through">The last event that was looked at.</param>
/// <param name="Answer">Those that were asked for.</param>
public sealed record HistoryPage(Guid VolumeId, long Through, HistoryAnswer Answer);

/// <summary>Answers from history: each a fold of a stretch of the stream.</summary>
/// <param name="points">Resolves points.</param>
/// <param name="reader">Reads events.</param>
/// <param name="changes">Reads what changed.</param>
/// <param name="streams">Says how far a volume is.</param>
/// <param name="clock">Measures pauses.</param>
public sealed class Queries(
    PointResolver points, EventReader reader, ChangeReader changes, VolumeStreams streams, TimeProvider clock)
{
    /// <summary>Soon enough for a person who watches, seldom enough for PostgreSQL not to notice.</summary>
    private static readonly TimeSpan _followPause = TimeSpan.FromMilliseconds(250);

    private static readonly HashSet<string> _types = typeof(IVolumeEvent).Assembly.GetTypes()
        .Where(t => t.IsClass && !t.IsAbstract && t.IsAssignableTo(typeof(IVolumeEvent))).Select(t => t.Name)
        .ToHashSet(StringComparer.OrdinalIgnoreCase);

    /// <summary>What changed after one point, up to and including another.</summary>
    public async Task<ChangedAnswer> ChangedAsync(
        string volume, string from, string? to, long? granularity, string? format, CancellationToken cancellation)
    {
        var grain = granularity is not { } bytes ? Granularity.Default
            : Granularity.IsValid(bytes) ? Granularity.FromBytes(bytes)
            : throw new LedgerException(
                ErrorCode.BadArgument, "Granularity must be power of 2 and at least 512",
                $"{bytes} is not; take 512 to 2G");
        var state = await points.CurrentAsync(volume, cancellation);
        var (first, last) = await points.RangeAsync(from, to ?? "now", state, cancellation);
        var sizes = await changes.SizesAsync(state.Id, state.Size, first.At, last.At, cancellation);
        using var changed = await changes.ReadAsync(state.Id, sizes.To, grain, first.At, last.At, cancellation);
        var shown = BitFormat.Of(changed.Map, format);
        return new(
            state.Name, first.Answer, last.Answer, grain.Bytes, new(
                sizes.From, sizes.To), changed.IsExact, Show(changed.Gaps),
            changed.Map.Extents().Sum(e => e.Length), shown.Extents, shown.Blocks, shown.Bitmap);
    }

    /// <summary>The bitmaps of a volume as they were.</summary>
    public async Task<ReplayAnswer> ReplayAsync(
        string volume, string at, string? bitmap, string? format, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        var point = await points.ResolveAsync(at, state, cancellation);
        using var replay = await reader.ReplayAsync(state.Id, point.At, cancellation);
        if (bitmap is not null && replay.State.Bitmap(bitmap) is null)
            throw new LedgerException(ErrorCode.NotFound, $"Dirty bitmap '{bitmap}' not found", $"at {at}");

        var bitmaps = replay.State.Bitmaps.Where(b => bitmap is null || b.Name == bitmap).ToList();
        return new(
            state.Name, point.Answer, replay.Gaps.Count == 0 && bitmaps.TrueForAll(b => replay.IsExact(b.Name)),
            Show(replay.Gaps), [.. bitmaps.Select(b => Show(b, replay.Bits(b.Name), format))]);
    }

    /// <summary>The events of a volume, newest last.</summary>
    /// <exception cref="LedgerException">The filter, or a point, cannot be.</exception>
    public async Task<HistoryPage> HistoryAsync(string volume, HistoryFilter filter, CancellationToken cancellation)
    {
        Refuse(filter);
        var state = await points.CurrentAsync(volume, cancellation);
        var first = filter.From is null ? 0 : (await points.ResolveAsync(filter.From, state, cancellation)).At.Event;
        var (from, to) = filter.From is null
            ? (first, await points.ResolveAsync(filter.To ?? "now", state, cancellation))
            : (first, (await points.RangeAsync(filter.From, filter.To ?? "now", state, cancellation)).To);
        List<HistoryEvent> events = [];
        var exact = true;
        await foreach (var e in reader.ReadAsync(state.Id, Math.Max(from, filter.After ?? 0), to.At.Event, cancellation))
        {
            if (events.Count == filter.Limit && Passes(e, filter))
                return new(state.Id, e.Version - 1, new(events, exact ? null : false, events[^1].Event));
            exact &= e.Data is not (TrackingLost or WritesRecovered) || !Touches(e, filter);
            if (Passes(e, filter))
                events.Add(EventView.Show(e));
        }

        return new(state.Id, to.At.Event, new(events, exact ? null : false));
    }

    /// <summary>
    /// The events behind a number as they are appended, until the volume is removed. Nothing is shipped for whoever waits:
    /// a trickle of writes must not become an event each.
    /// </summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="afterEvent">The last event that is known.</param>
    /// <param name="filter">Which events.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async IAsyncEnumerable<HistoryEvent> FollowAsync(
        Guid volumeId, long afterEvent, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        while (true)
        {
            var state = await streams.LoadAsync(volumeId, cancellation);
            await foreach (var e in reader.ReadAsync(volumeId, afterEvent, state?.Event ?? 0, cancellation))
                if (Passes(e, filter))
                    yield return EventView.Show(e);
            afterEvent = Math.Max(afterEvent, state?.Event ?? 0);
            if (state is null or { Removed: true })
                yield break;
            await Task.Delay(_followPause, clock, cancellation);
        }
    }

    /// <summary>A checkpoint as answers show it.</summary>
    public static IReadOnlyList<CheckpointAnswer> Show(IReadOnlyList<CheckpointState> checkpoints) =>
    [
        .. checkpoints.Select((c, i) => new CheckpointAnswer(
            c.Name, i > 0 ? checkpoints[i - 1].Name : null,
            new($"checkpoint:{c.Name}", c.Event, c.Lsn, Timestamps.Show(c.Time)))),
    ];

    internal static IReadOnlyList<GapAnswer> Show(IReadOnlyList<Gap> gaps) =>
        [.. gaps.Select(g => new GapAnswer(g.FromLsn, g.ToLsn, g.Why))];

    private static BitmapAnswer Show(BitmapState bitmap, NativeBitmap bits, string? format)
    {
        var shown = BitFormat.Of(bits, format);
        return new(
            bitmap.Name, bitmap.Granularity, bitmap.Recording, bitmap.Persistent, bitmap.Busy, bitmap.Inconsistent,
            bits.DirtyBytes, bits.Sha256(), shown.Extents, shown.Blocks, shown.Bitmap);
    }

    private static void Refuse(HistoryFilter filter)
    {
        if (filter.Offset is < 0)
            throw new LedgerException(ErrorCode.BadArgument, $"{filter.Offset} is no offset", "take 0 or more");
        if (filter.Length is <= 0)
            throw new LedgerException(ErrorCode.BadArgument, $"{filter.Length} is no length", "take 1 or more");
        if (filter.Limit is < 1)
            throw new LedgerException(ErrorCode.BadArgument, $"{filter.Limit} is no limit", "take 1 or more");
        if (filter.Types.FirstOrDefault(t => !_types.Contains(t)) is { } unknown)
            throw new LedgerException(
                ErrorCode.BadArgument, $"'{unknown}' is no type of event", $"there are {string.Join(", ", _types.Order(StringComparer.Ordinal))}");
    }

    private static bool Passes(IEvent e, HistoryFilter filter) =>
        (filter.Types.Count == 0 || filter.Types.Contains(e.Data.GetType().Name, StringComparer.OrdinalIgnoreCase))
        && Touches(e, filter);

    /// <summary>Whether an event touched the bytes that are asked about.</summary>
    private static bool Touches(IEvent e, HistoryFilter filter)
    {
        if (filter.Offset is null && filter.Length is null)
            return true;
        var start = filter.Offset ?? 0;
        var end = filter.Length is { } length && length < long.MaxValue - start ? start + length : long.MaxValue;
        if (e.Data is WritesRecovered recovered)
            return recovered.Touches(start, end);
        if (e.Data is not WritesRecorded writes)
            return e.Data is TrackingLost;
        foreach (var write in writes.Packed)
            if (write.Offset < end && write.End > start)
                return true;
        return false;
    }
}
