using System.Text.Json;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The bits of bitmaps and slices at any point, from the union tree, are those of the naive fold.</summary>
public sealed class ReplayTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(5);

    // Method: every kind of command at random, 300 events; at each of them, and inside some, the volume, and the bits of every
    // bitmap, successor and slice, are compared with a fold of the list; with the tree whole, then empty, then full of holes.
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 5)]
    public async Task At_every_event_of_a_random_history_replay_equals_the_naive_fold(int seed, int every)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomVolume(ledger, seed);
        await history.AppendAsync(300);
        await CompareAsync(ledger, history, every: 97);

        await ProjectAsync(ledger);
        await CompareAsync(ledger, history, every);

        await SqlAsync(ledger, "delete from bitmapledger.union_nodes where abs(hashint8(first_event * 16 + level)) % 3 = 0");
        await CompareAsync(ledger, history, every: 23);
        await SqlAsync(ledger, "update bitmapledger.union_nodes set state = null");
        await CompareAsync(ledger, history, every: 67);
    }

    [Fact]
    public async Task Replay_is_the_same_while_writes_go_on_and_the_tree_is_rebuilt()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomVolume(ledger, 3);
        await history.AppendAsync(270);
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        var rebuilding = daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        do
        {
            await CompareAsync(ledger, history, every: 151);
            await history.AppendAsync(5);
        }
        while (!rebuilding.IsCompleted);
        await rebuilding;

        await CompareAsync(ledger, history, every: 53);
        await daemon.StopAllAsync();
    }

    [Fact]
    public async Task Replay_answers_digest_count_flags_and_gaps_at_a_point_in_the_middle_of_an_event()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        ledger.Write((0, 512), (8192, 512), (16384, 512));
        await ledger.CommandAsync(lsn => new TrackingLost(lsn, lsn, "a test", lsn));
        await ledger.CommandAsync(lsn => new BitmapAdded("b1", 4096, true, true, lsn));

        var then = await ledger.Queries.ReplayAsync("v", "lsn:2", null, null, _none);
        var now = await ledger.Queries.ReplayAsync("v", "now", null, "blocks", _none);
        var later = await ledger.Queries.ReplayAsync("v", "now", "b1", null, _none);

        Assert.Equal((true, 8192), (then.Exact, Assert.Single(then.Bitmaps).Count));
        Assert.Equal([(0, 4096), (8192, 4096)], then.Bitmaps[0].Extents!.Select(e => (e.Offset, e.Length)));
        Assert.Equal(["b1", "b0"], now.Bitmaps.Select(b => b.Name));
        Assert.Equal((false, "a test", TestLedger.Size), (now.Exact, Assert.Single(now.Gaps).Why, now.Bitmaps[1].Count));
        Assert.Equal(4096, now.Bitmaps[1].Blocks!.Count());
        // What was lost before a bitmap came is no gap of it.
        Assert.Equal((true, 0, 0L, false), (later.Exact, later.Gaps.Count, later.Bitmaps[0].Count, later.Bitmaps[0].Recording));
        var gone = await Assert.ThrowsAsync<LedgerException>(() => ledger.Queries.ReplayAsync("v", "lsn:2", "b1", null, _none));
        Assert.Equal("Dirty bitmap 'b1' not found", gone.Message);
    }

    private static async Task CompareAsync(TestLedger ledger, RandomVolume history, int every)
    {
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        using var fold = new BitmapReplay();
        for (var number = 1L; number <= history.Count; number++)
        {
            history.Apply(fold, number, long.MaxValue);
            if ((history.Count - number) % every == 0)
                await CompareAsync(look, history, fold, history.Behind(number));
            if ((history.Count - number) % (5 * every) == 0)
                await CompareInsideAsync(look, history, history.Inside(number));
        }
    }

    private static async Task CompareInsideAsync(HistorySnapshot look, RandomVolume history, Position at)
    {
        using var fold = new BitmapReplay();
        for (var number = 1L; number <= at.Event; number++)
            history.Apply(fold, number, at.Lsn);
        await CompareAsync(look, history, fold, at);
    }

    private static async Task CompareAsync(HistorySnapshot look, RandomVolume history, BitmapReplay fold, Position at)
    {
        var state = await look.StateAsync(at.Event, _none);
        Assert.Equal(Said(fold.State), Said(state));
        List<(string Name, WantedBits Bits, string Sha256)> wanted = [];
        foreach (var bitmap in fold.State.Bitmaps)
        {
            wanted.Add((bitmap.Name, WantedBits.Of(bitmap), fold.Bits(bitmap.Name).Sha256()));
            if (bitmap.Successor is { } successor)
                wanted.Add(($"successor of {bitmap.Name}", WantedBits.Of(bitmap) with { Bits = successor }, fold.Bits(bitmap.SuccessorName).Sha256()));
            foreach (var slice in bitmap.Slices)
                wanted.Add((
                    $"slice {bitmap.Name}/{slice.Number}", WantedBits.Of(bitmap, slice), fold.SliceBits(bitmap.Name, slice.Number).Sha256()));
        }

        var taken = 0;
        await BitsReader.ReadAsync(look, state, at, [.. wanted.Select(w => w.Bits)], (i, found) =>
        {
            Assert.Equal(taken++, i);
            var (name, bits, sha256) = wanted[i];
            Assert.True(sha256 == found.Map.Sha256(), $"{name} at event {at.Event}, lsn {at.Lsn}, from '{bits.Bits}'");
            var doubts = history.Events.Take((int)at.Event).Index().Where(
                e => e.Item.Data is TrackingLost or WritesRecovered && Holds(bits.Bits, e.Index + 1)).ToList();
            Assert.Equal(doubts.Count == 0, found.IsExact);
            Assert.Equal(
                doubts.Where(d => d.Item.Data is TrackingLost).Select(d => d.Index + 1L), found.Gaps.Keys.Order());
        }, _none);
        Assert.Equal(wanted.Count, taken);
        Assert.All(fold.State.Bitmaps, b => Assert.True(fold.IsExact(b.Name) || Doubted(history, b.Bits, at.Event)));
    }

    private static bool Doubted(RandomVolume history, BitExpression bits, long through) => history.Events.Take((int)through).Index().Any(
        e => e.Item.Data is TrackingLost or WritesRecovered && Holds(bits, e.Index + 1));

    private static bool Holds(BitExpression bits, long number) =>
        bits.Terms.Any(t => t.Origin is BitOrigin.Touched touched && touched.Has(number));

    /// <summary>What a state says, but for how far the writes are, and when its first event was.</summary>
    private static string Said(VolumeState state) => JsonSerializer.Serialize(state with { Id = default, Created = default, LastLsn = 0, CheckpointCount = 0 });

    private static async Task ProjectAsync(TestLedger ledger)
    {
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        await daemon.StopAllAsync();
    }

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.NotEqual(0, await ledger.SqlAsync(sql));
}
