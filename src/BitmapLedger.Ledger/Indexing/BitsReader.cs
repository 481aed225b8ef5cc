using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>The bits of a bitmap or slice. The creator disposes.</summary>
/// <param name="map">The bits.</param>
/// <param name="isExact">False when more may be dirty than was written.</param>
/// <param name="gaps">Where writes may have gone unrecorded that would be in it, by the event that says so.</param>
public sealed class FoundBits(NativeBitmap map, bool isExact, IReadOnlyDictionary<long, Gap> gaps) : IDisposable
{
    /// <summary>The bits.</summary>
    public NativeBitmap Map { get; } = map;

    /// <summary>False when more may be dirty than was written.</summary>
    public bool IsExact { get; } = isExact;

    /// <summary>Where writes may have gone unrecorded that would be in it, by the event that says so.</summary>
    public IReadOnlyDictionary<long, Gap> Gaps { get; } = gaps;

    /// <inheritdoc />
    public void Dispose() => Map.Dispose();
}

/// <summary>
/// The bits of bitmaps and slices at a position, from what they are made of: sums of stretches of the history through the
/// union tree, and bits that events carry. Nothing of the history is read that is not in them.
/// </summary>
public static class BitsReader
{
    /// <summary>Maps that are marked at once may take so much memory together: what several bitmaps have in common is then
    /// read once.</summary>
    private static readonly long _mapBytesGood = 8.MiB;

    /// <summary>Reads bits one after the other. Each is valid until the next and is disposed here.</summary>
    /// <param name="look">The history.</param>
    /// <param name="place">The volume at the position: <see cref="HistorySnapshot.StateAsync"/>.</param>
    /// <param name="at">The position.</param>
    /// <param name="wanted">Which.</param>
    /// <param name="take">Is given each, in their order, with its index.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="CorruptionException">A node or an event is not what was written.</exception>
    public static async Task ReadAsync(
        HistorySnapshot look, VolumeState place, Position at, IReadOnlyList<WantedBits> wanted, Action<int, FoundBits> take,
        CancellationToken cancellation)
    {
        for (var first = 0; first < wanted.Count;)
        {
            var count = 1;
            for (var bytes = MapBytes(place, wanted[first]); first + count < wanted.Count; count++)
                if ((bytes += MapBytes(place, wanted[first + count])) > _mapBytesGood)
                    break;
            var found = await ReadAllAsync(look, place, at, [.. wanted.Skip(first).Take(count)], cancellation);
            try
            {
                foreach (var (bits, i) in found.Select((b, i) => (b, i)))
                    take(first + i, bits);
            }
            finally
            {
                foreach (var bits in found)
                    bits.Dispose();
            }

            first += count;
        }
    }

    /// <summary>Reads the bits of one bitmap or slice.</summary>
    /// <param name="look">The history.</param>
    /// <param name="place">The volume at the position: <see cref="HistorySnapshot.StateAsync"/>.</param>
    /// <param name="at">The position.</param>
    /// <param name="wanted">Which.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>The caller disposes it.</returns>
    /// <exception cref="CorruptionException">A node or an event is not what was written.</exception>
    public static async Task<FoundBits> OneAsync(
        HistorySnapshot look, VolumeState place, Position at, WantedBits wanted, CancellationToken cancellation) =>
        (await ReadAllAsync(look, place, at, [wanted], cancellation))[0];

    private static long MapBytes(VolumeState place, WantedBits wanted) => wanted.Granularity.BlockCount(place.Size) / 8;

    private static async Task<FoundBits[]> ReadAllAsync(
        HistorySnapshot look, VolumeState place, Position at, IReadOnlyList<WantedBits> wanted, CancellationToken cancellation)
    {
        Target[] targets = [.. wanted.Select(w => new Target(new(place.Size, w.Granularity)))];
        try
        {
            var plan = BitPlan.Of(place, wanted);
            foreach (var stretch in plan.Stretches)
                await SumAsync(look, at, stretch, targets, cancellation);
            await CarryGiftsAsync(look, plan.Gifts, targets, cancellation);
            return [.. targets.Select(t => new FoundBits(t.Map, t.IsExact, t.Gaps))];
        }
        catch
        {
            foreach (var target in targets)
                target.Map.Dispose();
            throw;
        }
    }

    private static async Task SumAsync(
        HistorySnapshot look, Position at, BitStretch stretch, Target[] targets, CancellationToken cancellation)
    {
        // What only one bitmap holds, as it was recorded, is marked in its map at once.
        var direct = stretch.Into is [var (only, path)] && path == new BitPath(stretch.Granularity.Bytes)
            && targets[only].Map is { } map && map.VolumeBytes == stretch.Size && map.Granularity == stretch.Granularity
            ? map
            : null;
        var sum = direct ?? new NativeBitmap(stretch.Size, stretch.Granularity);
        try
        {
            var cut = stretch.ThroughEvent == at.Event;
            var from = new Position(stretch.AfterEvent, 0, default);
            var to = cut ? at : new(stretch.ThroughEvent + 1, long.MaxValue, default);
            var reading = new ChangeReading(look, new(sum, from, to), from, to);
            await reading.TakeAsync(
                stretch.AfterEvent, cut ? at.Event - 1 : stretch.ThroughEvent, cut ? [at.Event] : [], cancellation);
            foreach (var (index, way) in stretch.Into)
            {
                if (direct is null)
                    Carry(sum, way, targets[index].Map);
                targets[index].IsExact &= reading.IsExact;
                foreach (var (number, gap) in reading.Gaps)
                    targets[index].Gaps[number] = gap;
            }
        }
        finally
        {
            if (direct is null)
                sum.Dispose();
        }
    }

    private static void Carry(NativeBitmap sum, BitPath way, NativeBitmap into)
    {
        if (way is { Clip: null, Before: null } && sum.VolumeBytes == into.VolumeBytes)
            into.UnionWith(sum, Granularity.FromBytes(way.Granularity));
        else
            way.Carry(sum, into);
    }

    private static async Task CarryGiftsAsync(
        HistorySnapshot look, IReadOnlyList<BitGift> gifts, Target[] targets, CancellationToken cancellation)
    {
        foreach (var gift in gifts)
        {
            using var given = await look.GivenAsync(gift.Origin, cancellation);
            gift.Path.Carry(given, targets[gift.Wanted].Map);
        }
    }

    private sealed class Target(NativeBitmap map)
    {
        public NativeBitmap Map => map;

        public bool IsExact { get; set; } = true;

        public Dictionary<long, Gap> Gaps { get; } = [];
    }
}
