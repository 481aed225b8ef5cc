using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Answers over a coalesced history are never less than those of the naive fold of the whole one.</summary>
public sealed class RetainedAnswersTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(5);
    private static readonly CommandOrigin _origin = new("somebody", "a test", CommandId: null);

    // Method: every kind of command at random, 300 events, coalesced; then at every number, whether its event is still there or
    // not, bits, points and ranges are compared with folds of the list; with the tree whole, then full of holes, then empty.
    [Theory]
    [InlineData(21)]
    [InlineData(22)]
    public async Task At_every_number_of_a_coalesced_history_bits_and_points_are_those_of_the_whole_one_or_more(int seed)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomVolume(ledger, seed);
        await history.AppendAsync(300);
        await using var running = await RunningDaemon.StartAsync(ledger);
        await ledger.Retainer.RetainAsync("v", "0s", "1000y", _origin, _none);
        await running.CatchUpAsync();
        var left = await LeftAsync(ledger);
        Assert.InRange(history.Count - left.Count, 50, 280);

        await CompareBitsAsync(ledger, history, left, every: 1);
        await ComparePointsAsync(ledger, history, left);
        await CompareRangesAsync(ledger, history, new(seed));
        await CompareHistoriesAsync(ledger, history, left, new(seed));
        await CompareProjectionsAsync(ledger, left);
        await SqlAsync(ledger, "delete from bitmapledger.union_nodes where abs(hashint8(first_event * 16 + level)) % 3 = 0");
        await CompareBitsAsync(ledger, history, left, every: 7);
        await CompareRangesAsync(ledger, history, new(seed + 1));
        await SqlAsync(ledger, "delete from bitmapledger.union_nodes");
        await CompareBitsAsync(ledger, history, left, every: 13);
        await running.RebuildAsync();
        await CompareBitsAsync(ledger, history, left, every: 3);
    }

    // What stays when everything may be forgotten: bits and slices of now, and what changed since each checkpoint.
    [Fact]
    public async Task Bits_of_now_and_changes_since_checkpoints_stay_when_the_rest_is_forgotten()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomVolume(ledger, 23);
        await history.AppendAsync(300);
        await using var running = await RunningDaemon.StartAsync(ledger);
        await SqlAsync(ledger, "delete from bitmapledger.mt_doc_checkpointrow");
        await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none);
        await running.CatchUpAsync();
        Assert.NotEqual(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where octet_length(bdata) = 65"));

        for (var built = 0; built < 2; built++)
        {
            if (built > 0)
                await running.RebuildAsync();
            await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
            using var fold = Fold(history, history.Count, long.MaxValue);
            await CompareAsync(look, fold, history.Behind(history.Count), isThere: true);
            Assert.True((await ledger.Verifier.VerifyAsync("v", $"event:{history.Count}", _none)).Equal);
        }
    }

    private static async Task CompareBitsAsync(TestLedger ledger, RandomVolume history, HashSet<long> left, int every)
    {
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        using var fold = new BitmapReplay();
        for (var number = 1L; number <= history.Count; number++)
        {
            history.Apply(fold, number, long.MaxValue);
            if (number % every == 0)
                await CompareAsync(look, fold, history.Behind(number), left.Contains(number));
        }
    }

    private static async Task CompareAsync(HistorySnapshot look, BitmapReplay fold, Position at, bool isThere)
    {
        var state = await look.StateAsync(at.Event, _none);
        Assert.Equal(Said(fold.State), Said(state));
        List<(string Name, WantedBits Bits, NativeBitmap Map)> wanted = [];
        foreach (var bitmap in fold.State.Bitmaps)
        {
            wanted.Add((bitmap.Name, WantedBits.Of(bitmap), fold.Bits(bitmap.Name)));
            if (bitmap.Successor is { } successor)
                wanted.Add(($"successor of {bitmap.Name}", WantedBits.Of(bitmap) with { Bits = successor }, fold.Bits(bitmap.SuccessorName)));
            foreach (var slice in bitmap.Slices)
                wanted.Add(($"slice {bitmap.Name}/{slice.Number}", WantedBits.Of(bitmap, slice), fold.SliceBits(bitmap.Name, slice.Number)));
        }

        await BitsReader.ReadAsync(look, state, at, [.. wanted.Select(w => w.Bits)], (i, found) =>
        {
            var (name, bits, map) = wanted[i];
            using var lacking = map.Without(found.Map);
            Assert.True(lacking.CountDirty() == 0, $"{name} at event {at.Event} lacks blocks, from '{bits.Bits}'");
            if (isThere)
                Assert.True(map.Sha256() == found.Map.Sha256(), $"{name} at event {at.Event} has blocks too many, from '{bits.Bits}'");
            Assert.True(!found.IsExact || map.Sha256() == found.Map.Sha256(), $"{name} at event {at.Event} is called exact");
        }, _none);
    }

    private static async Task ComparePointsAsync(TestLedger ledger, RandomVolume history, HashSet<long> left)
    {
        var state = await ledger.Points.CurrentAsync("v", _none);
        for (var number = 1L; number <= history.Count; number++)
        {
            var inside = history.Inside(number);
            var (end, begin) = (left.Where(n => n >= number).Min(), left.Contains(number) ? number : left.Where(n => n < number).Max());
            foreach (var (text, lsn) in ((string, long)[])[($"event:{number}", history.Behind(number).Lsn), ($"lsn:{inside.Lsn}", inside.Lsn)])
            {
                var (from, to) = await ledger.Points.RangeAsync(text, text, state, _none);
                Assert.True(from.At.Lsn <= lsn && to.At.Lsn >= lsn, $"{text} is {from.At} to {to.At}");
                Assert.True(text[0] == 'l' || (begin, end) == (from.At.Event, to.At.Event), $"{text} is {from.At} to {to.At}");
                Assert.Equal(from.At.Event == to.At.Event && from.At.Lsn == to.At.Lsn, to.Gaps.Count == 0);
            }
        }
    }

    private static async Task CompareRangesAsync(TestLedger ledger, RandomVolume history, Random random)
    {
        for (var i = 0; i < 30; i++)
        {
            var (a, b) = (history.Inside(random.NextInt64(2, history.Count + 1)), history.Inside(random.NextInt64(2, history.Count + 1)));
            var (from, to) = a.Event <= b.Event ? (a, b) : (b, a);
            if (from.Lsn > to.Lsn || to.Lsn == 0)
                continue;
            var size = history.Events.Take((int)to.Event).Select(e => e.Data).OfType<VolumeResized>().LastOrDefault()?.Size ?? TestLedger.Size;
            using var expected = new ChangeFold(size, Granularity.Default, from, to);
            foreach (var (number, happened) in history.Events.Index())
                expected.Apply(happened.Data, number + 1);
            // By LSN, it may be a later event that stands there, and a volume that is smaller.
            var changed = await ledger.Queries.ChangedAsync("v", $"event:{from.Event - 1}", $"event:{to.Event}", null, null, _none);
            using var found = new NativeBitmap(size, Granularity.Default);
            foreach (var extent in changed.Extents!.Where(e => e.Offset < size))
                found.MarkDirty(extent.Offset, Math.Min(extent.Length, size - extent.Offset));
            using var lacking = expected.Changed.Without(found);
            Assert.True(lacking.CountDirty() == 0, $"what changed from {from} to {to} lacks blocks");
        }
    }

    private static async Task CompareHistoriesAsync(TestLedger ledger, RandomVolume history, HashSet<long> left, Random random)
    {
        var all = (await ledger.Histories.AskAsync("v", new(null, null, [], null, null), _none)).Answer;
        Assert.Equal(left.Order(), all.Events.Select(e => e.Event));
        Assert.False(all.Exact);
        var commands = (await ledger.Histories.AskAsync("v", new(null, null, [nameof(BitmapAdded)], null, null), _none)).Answer;
        Assert.Equal(
            history.Events.Index().Where(e => e.Item.Data is BitmapAdded).Select(e => e.Index + 1L), commands.Events.Select(e => e.Event));
        Assert.False(commands.Exact);
        for (var i = 0; i < 10; i++)
        {
            var offset = random.NextInt64(TestLedger.Size / 4);
            var touching = history.Events.Index().Where(e => e.Item.Data is WritesRecorded { Packed: var packed } && Touches(packed, offset))
                .Select(e => left.Where(n => n > e.Index).Min()).Distinct().ToList();
            var answer = (await ledger.Histories.AskAsync("v", new(null, null, [], offset, 512), _none)).Answer;
            Assert.Subset(answer.Events.Select(e => e.Event).ToHashSet(), touching.ToHashSet());
            var blame = await new Reading.Blame(ledger.Points, ledger.Streams, ledger.Index).AskAsync("v", offset, 512, null, null, null, _none);
            Assert.Empty(blame.Writes);
            Assert.False(blame.Exact && touching.Count > 0);
        }
    }

    private static async Task CompareProjectionsAsync(TestLedger ledger, HashSet<long> left)
    {
        foreach (var number in left.Where(n => n % 20 == 0).Append(left.Max()))
            Assert.True((await ledger.Verifier.VerifyAsync("v", $"event:{number}", _none)).Equal);
        foreach (var projection in (string[])["volume-state", BitmapBits.ProjectionName, UnionNodes.ProjectionName])
        {
            List<Contracts.Answers.ProjectionStep> steps = [];
            await foreach (var step in (await ledger.Steps.WalkAsync(projection, "v", "event:1", "now", _none)).Steps)
                steps.Add(step);
            Assert.Equal(left.Order().Skip(1), steps.Select(s => s.Event));
            Assert.All(steps, s => Assert.True(s.Stored is null or "same" && (s.Nodes ?? []).All(n => n.Stored == "same"), $"{projection} {s.Event}"));
            Assert.True(projection == UnionNodes.ProjectionName || steps[^1].Stored == "same");
        }
    }

    private static bool Touches(Bitmaps.Writes.PackedWrites packed, long offset)
    {
        foreach (var write in packed)
            if (write.Offset < offset + 512 && write.End > offset)
                return true;
        return false;
    }

    private static BitmapReplay Fold(RandomVolume history, long through, long throughLsn)
    {
        var fold = new BitmapReplay();
        for (var number = 1L; number <= through; number++)
            history.Apply(fold, number, throughLsn);
        return fold;
    }

    /// <summary>What a state says, but for how far the writes are, and when its first event was.</summary>
    private static string Said(VolumeState state) => JsonSerializer.Serialize(state with
    {
        Id = default,
        Created = default,
        LastLsn = 0,
        CheckpointCount = 0,
        Retained = null,
    });

    private static async Task<HashSet<long>> LeftAsync(TestLedger ledger)
    {
        HashSet<long> left = [];
        await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, long.MaxValue, _none))
            left.Add(e.Version);
        return left;
    }

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.NotEqual(0, await ledger.SqlAsync(sql));
}
