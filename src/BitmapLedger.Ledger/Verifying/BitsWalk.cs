using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>The projection of bits as it is walked: which blocks an event sets and clears, in which bitmap, successor and
/// slice.</summary>
internal sealed class BitsWalk : IProjectionWalk
{
    /// <summary>Most stretches that a step shows of a bitmap.</summary>
    private const int ExtentsMax = 16;

    private readonly BitmapReplay _replay;
    private readonly Dictionary<string, NativeBitmap> _before = new(StringComparer.Ordinal);
    private readonly BitmapReplay? _row;
    private readonly long _rowEvent;

    private BitsWalk(BitmapReplay replay, BitmapReplay? row, long rowEvent)
    {
        _replay = replay;
        _row = row;
        _rowEvent = rowEvent;
        foreach (var (name, map) in Maps(replay))
            _before[name] = map.Resized(map.VolumeBytes);
    }

    /// <summary>Begins behind an event.</summary>
    public static async Task<BitsWalk> BeginAsync(HistorySnapshot look, BitmapBits rows, long after, CancellationToken cancellation)
    {
        var replay = await ReplayAsync(look, after, cancellation);
        try
        {
            var row = await rows.LoadAsync(look.VolumeId, cancellation);
            return new(replay, row, row.State.Event);
        }
        catch (Exception fault) when (fault is CorruptionException or JsonException)
        {
            return new(replay, row: null, (await rows.PlaceAsync(look.VolumeId, cancellation)).Event);
        }
        catch
        {
            replay.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public Task<ProjectionStep> StepAsync(
        ProjectionStep step, IVolumeEvent happened, long number, DateTimeOffset time, CancellationToken cancellation)
    {
        _replay.Apply(happened, number, time);
        List<BitsStep> steps = [];
        var now = Maps(_replay).ToDictionary(StringComparer.Ordinal);
        foreach (var gone in _before.Keys.Except(now.Keys).ToList())
        {
            _before.Remove(gone, out var map);
            using (map)
                steps.Add(new(gone, "removed", 0, map!.DirtyBytes, 0, Sha256: null, [], ExtentsComplete: null));
        }

        foreach (var (name, map) in now)
        {
            var added = !_before.TryGetValue(name, out var before);
            if (before is not null && before.VolumeBytes == map.VolumeBytes && before.Sha256() == map.Sha256())
                continue;
            steps.Add(Compare(name, added ? "added" : null, before ?? new(map.VolumeBytes, map.Granularity), map));
            _before[name] = map.Resized(map.VolumeBytes);
            before?.Dispose();
        }

        return Task.FromResult(step with { Bits = steps, Stored = number == _rowEvent ? Stored(now) : null });
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _replay.Dispose();
        _row?.Dispose();
        foreach (var map in _before.Values)
            map.Dispose();
    }

    private static async Task<BitmapReplay> ReplayAsync(HistorySnapshot look, long after, CancellationToken cancellation)
    {
        var place = await look.StateAsync(after, cancellation);
        List<(string Name, SliceName? Slice, WantedBits Bits)> wanted = [];
        foreach (var bitmap in place.Bitmaps)
        {
            wanted.Add((bitmap.Name, null, WantedBits.Of(bitmap)));
            if (bitmap.Successor is { } successor)
                wanted.Add((bitmap.SuccessorName, null, WantedBits.Of(bitmap) with { Bits = successor }));
            foreach (var slice in bitmap.Slices)
                wanted.Add((bitmap.Name, new(bitmap.Name, slice.Number), WantedBits.Of(bitmap, slice)));
        }

        var encoded = new byte[wanted.Count][];
        await BitsReader.ReadAsync(
            look, place, new(after, long.MaxValue, default), [.. wanted.Select(w => w.Bits)],
            (i, found) => encoded[i] = BitmapCodec.Encode(found.Map), cancellation);
        var read = wanted.Zip(encoded).ToList();
        return new(
            place,
            read.Where(r => r.First.Slice is null).Select(r => KeyValuePair.Create(r.First.Name, GivenBits.Read(r.Second))),
            read.Where(r => r.First.Slice is not null).Select(r => KeyValuePair.Create(r.First.Slice!, r.Second)));
    }

    private static IEnumerable<KeyValuePair<string, NativeBitmap>> Maps(BitmapReplay replay)
    {
        foreach (var bitmap in replay.State.Bitmaps)
        {
            yield return new(bitmap.Name, replay.Bits(bitmap.Name));
            if (bitmap.Successor is not null)
                yield return new($"successor:{bitmap.Name}", replay.Bits(bitmap.SuccessorName));
            foreach (var slice in bitmap.Slices)
                yield return new($"slice:{bitmap.Name}/{slice.Number}", replay.SliceBits(bitmap.Name, slice.Number));
        }
    }

    private static BitsStep Compare(string name, string? change, NativeBitmap before, NativeBitmap after)
    {
        using var set = after.Without(before);
        using var cleared = before.Without(after);
        var extents = set.Extents().Concat(cleared.Extents()).OrderBy(e => e.Offset).Take(ExtentsMax + 1).ToList();
        return new(
            name, change, set.DirtyBytes, cleared.DirtyBytes, after.DirtyBytes, after.Sha256(),
            [.. extents.Take(ExtentsMax).Select(e => new ExtentAnswer(e.Offset, e.Length))],
            extents.Count > ExtentsMax ? false : null);
    }

    private string Stored(Dictionary<string, NativeBitmap> now)
    {
        if (_row is null)
            return BitComparison.Damaged;
        try
        {
            var row = Maps(_row).ToDictionary(StringComparer.Ordinal);
            return row.Count == now.Count && now.All(m => row.TryGetValue(m.Key, out var map) && map.Sha256() == m.Value.Sha256())
                ? "same"
                : "different";
        }
        catch (Exception fault) when (fault is CorruptionException or KeyNotFoundException)
        {
            return BitComparison.Damaged;
        }
    }
}
