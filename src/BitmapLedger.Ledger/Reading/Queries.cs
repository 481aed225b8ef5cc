using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Answers from history, to one request.</summary>
/// <param name="points">Resolves points.</param>
/// <param name="changes">Reads what changed.</param>
/// <param name="index">The history, and the tree over it.</param>
/// <param name="maps">Keeps what answers are read from while they are written.</param>
public sealed class Queries(PointResolver points, ChangeReader changes, HistoryIndex index, AnswerMaps maps)
{
    /// <summary>A list of so many extents is smaller than a map.</summary>
    private const int ExtentsFew = 4096;

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
        var changed = await changes.ReadAsync(state.Id, sizes.To, grain, first.At, last.At, cancellation);
        var shown = BitFormat.Of(maps.Keep(changed.Map), format);
        return new(
            state.Name, first.Answer, last.Answer, grain.Bytes, new(
                sizes.From, sizes.To), changed.IsExact && first.Gaps.Count + last.Gaps.Count == 0,
            Show([.. first.Gaps, .. last.Gaps, .. changed.Gaps], state),
            changed.Map.Extents().Sum(e => e.Length), shown.Extents, shown.Blocks, shown.Bitmap);
    }

    /// <summary>The bitmaps of a volume as they were.</summary>
    public async Task<ReplayAnswer> ReplayAsync(
        string volume, string at, string? bitmap, string? format, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        var point = await points.ResolveAsync(at, state, cancellation);
        await using var look = await index.LookAsync(state.Id, cancellation);
        var then = await look.StateAsync(point.At.Event, cancellation);
        if (bitmap is not null && then.Bitmap(bitmap) is null)
            throw new LedgerException(ErrorCode.NotFound, $"Dirty bitmap '{bitmap}' not found", $"at {at}");

        var bitmaps = then.Bitmaps.Where(b => bitmap is null || b.Name == bitmap).ToList();
        List<BitmapAnswer> shown = [];
        var exact = true;
        SortedDictionary<long, Gap> gaps = [];
        await BitsReader.ReadAsync(look, then, point.At, [.. bitmaps.Select(WantedBits.Of)], (i, bits) =>
        {
            shown.Add(Show(bitmaps[i], bits.Map, Shown(bits.Map, format)));
            exact &= bits.IsExact;
            foreach (var (number, gap) in bits.Gaps)
                gaps[number] = gap;
        }, cancellation);
        return new(
            state.Name, point.Answer, exact && point.Gaps.Count == 0, Show([.. point.Gaps, .. gaps.Values], state), shown);
    }

    /// <summary>A checkpoint as answers show it.</summary>
    public static IReadOnlyList<CheckpointAnswer> Show(IReadOnlyList<CheckpointState> checkpoints) =>
    [
        .. checkpoints.Select((c, i) => new CheckpointAnswer(
            c.Name, i > 0 ? checkpoints[i - 1].Name : null,
            new($"checkpoint:{c.Name}", c.Event, c.Lsn, Timestamps.Show(c.Time)))),
    ];

    /// <summary>Gaps as answers show them.</summary>
    /// <param name="gaps">The gaps, in any order.</param>
    /// <param name="now">The volume now.</param>
    internal static IReadOnlyList<GapAnswer> Show(IReadOnlyList<Gap> gaps, VolumeState now)
    {
        var exactFrom = now.Retained is { ExactFrom.Time: var time } ? Timestamps.Show(time) : null;
        return [.. Gap.Merged(gaps).Select(g => new GapAnswer(g.FromLsn, g.ToLsn, g.Why, HistoryCoalesced.Makes(g) ? exactFrom : null))];
    }

    private static BitmapAnswer Show(BitmapState bitmap, NativeBitmap bits, BitFormat shown) => new(
        bitmap.Name, bitmap.Granularity, bitmap.Recording, bitmap.Persistent, bitmap.Busy, bitmap.Inconsistent,
        bits.DirtyBytes, bits.Sha256(), shown.Extents, shown.Blocks, shown.Bitmap);

    /// <summary>Shows bits that go when the next ones are read.</summary>
    private BitFormat Shown(NativeBitmap map, string? format)
    {
        if (format is null or "extents" && map.Extents().Take(ExtentsFew + 1).ToList() is { Count: <= ExtentsFew } few)
            return new([.. few.Select(e => new ExtentAnswer(e.Offset, e.Length))], null, null);
        return BitFormat.Of(format is "bitmap" ? map : maps.Keep(map.Resized(map.VolumeBytes)), format);
    }
}
