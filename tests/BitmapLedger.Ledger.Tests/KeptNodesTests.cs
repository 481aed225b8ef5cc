using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Nodes;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Nodes that are kept in memory make an answer quicker and never another one, whatever becomes of their rows.</summary>
public sealed class KeptNodesTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);
    private static readonly CommandOrigin _origin = new("somebody", "a test", CommandId: null);

    // Method: between questions anything happens to the tree at random: it grows, is retained, rebuilt, loses rows, gets rows that
    // say something else. Each question is asked of a reader that has kept what it read all along, and of one that has nothing.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Whatever_becomes_of_the_tree_between_questions_answers_are_those_of_a_reader_that_keeps_nothing(int seed)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(new VolumeCommand.AddBitmap("b0", 4096, Disabled: false, Persistent: true));
        await GrowAsync(ledger, 300, new(seed));
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var random = new Random(seed);
        var (kept, fresh) = (0L, 0L);
        for (var step = 0; step < 40; step++)
        {
            await HappenAsync(ledger, daemon, random, step);
            for (var question = 0; question < 5; question++)
            {
                var index = new HistoryIndex(ledger.Source, ledger.Store.Options.Serializer());
                var before = ledger.Index.Reads.Bytes;
                await CompareAsync(ledger, index, random);
                kept += ledger.Index.Reads.Bytes - before;
                fresh += index.Reads.Bytes;
            }
        }

        Assert.InRange(ledger.Index.Kept.Bytes, 1, 32 << 20);
        Assert.True(kept < fresh, $"{kept} bytes were read, and {fresh} without what was kept");
    }

    // The ledger is made anew in the same database, with the same volume, numbers and version.
    [Fact]
    public async Task Of_a_ledger_that_was_dropped_and_made_again_nothing_is_in_any_answer()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        foreach (var seed in (int[])[31, 32])
        {
            if (seed > 31)
            {
                await ledger.SqlAsync("drop schema bitmapledger cascade");
                await new LedgerSchema(ledger.Store, ledger.Source).ApplyAsync(_none);
                await ledger.AppendAsync(0, new VolumeCreated("v", TestLedger.Size, "file:/v", "/v", false, "process", "stall", 0));
            }

            var history = new RandomHistory(ledger, seed);
            await history.AppendAsync(200);
            await ProjectAsync(ledger);
            await CompareAsync(ledger, history);
        }
    }

    // Method: PostgreSQL goes back to a copy of its files, and what happens then differs, with the same transaction numbers and in the
    // same places.
    [Fact]
    public async Task Of_a_history_that_a_restored_backup_does_not_have_nothing_is_in_any_answer()
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var ledger = await TestLedger.StartAsync(cluster.ConnectionString);
        await cluster.KillAsync();
        await Tool.RunAsync("cp", ["-a", cluster.Data, scratch["backup"]]);
        foreach (var seed in (int[])[41, 42])
        {
            if (seed > 41)
            {
                await cluster.KillAsync();
                Directory.Delete(cluster.Data, recursive: true);
                await Tool.RunAsync("cp", ["-a", scratch["backup"], cluster.Data]);
            }

            await cluster.StartAsync();
            NpgsqlConnection.ClearAllPools();
            var history = new RandomHistory(ledger, seed);
            for (var page = 0; page < 4; page++)
                await history.AppendAsync(16);
            // No daemon, whose transactions come when they come: the numbers are the same both times.
            var rebuild = new ProjectionRebuild(ledger.Store, ledger.Source, TimeProvider.System);
            await rebuild.BeginAsync(UnionNodes.ProjectionName, _none);
            await rebuild.RunAsync(UnionNodes.ProjectionName, _none);
            await CompareAsync(ledger, history);
        }
    }

    [Fact]
    public async Task No_more_is_kept_than_32_MiB_the_longest_unused_goes_first_and_any_thread_may_ask()
    {
        var kept = new KeptNodes();
        UnpackedNode[] nodes = [.. Enumerable.Range(0, 51).Select(Node)];
        var (first, bytes) = (Row(0), nodes[0].HeldBytes);
        kept.Keep(first, nodes[0]);
        await Task.WhenAll(Enumerable.Range(1, 4).Select(thread => Task.Run(() =>
        {
            for (var i = 0; i < 50; i++)
            {
                kept.Keep(Row(i + 1), nodes[i + 1]);
                Assert.NotNull(kept.Find(first));
                Assert.InRange(kept.Bytes, bytes, 32 << 20);
                Assert.True(kept.Find(Row(i + 1)) is not { } found || found == nodes[i + 1]);
            }
        })));

        Assert.InRange(kept.Bytes, (32 << 20) - bytes, 32 << 20);
        Assert.Equal(kept.Bytes / bytes, Enumerable.Range(0, 51).Count(i => kept.Find(Row(i)) is not null));
        Assert.Null(kept.Find(first with { Transaction = 2 }));
        Assert.True(KeptNodes.Takes(4 << 20));
        Assert.False(KeptNodes.Takes((4 << 20) + 1));

        static NodeRow Row(int place) => new(DateTime.UnixEpoch, 1, new(1, 1), Guid.Empty, new(1, (16L * place) + 1));

        // Every other block: a bit each, so 1 MiB.
        static UnpackedNode Node(int place)
        {
            using var map = new NativeBitmap(512.GiB, Granularity.Default);
            for (var block = 0L; block < map.BlockCount; block += 2)
                map.MarkBlocks(new(block, 1));
            Assert.Equal(CodecFault.None, UnpackedNode.TryUnpack(NodeCodec.Encode(map), out var node));
            return node!;
        }
    }

    private static async Task HappenAsync(TestLedger ledger, RunningDaemon daemon, Random random, int step)
    {
        switch (random.Next(10))
        {
            case 0 when step > 20:
                await ledger.Retainer.RetainAsync("v", "0s", random.Next(3) == 0 ? "0s" : "1000y", _origin, _none);
                break;
            case 1 or 2:
                await daemon.RebuildAsync();
                break;
            case 3:
                await ledger.SqlAsync($"delete from bitmapledger.union_nodes where abs(hashint8(first_event * 16 + level + {step})) % 3 = 0");
                break;
            case 4 or 5:
                // Under the same version and numbers another node: it is what a question finds now.
                await ledger.SqlAsync("""
                    update bitmapledger.union_nodes n set bits = o.bits from bitmapledger.union_nodes o
                    where o.volume_id = n.volume_id and o.version = n.version and o.level = n.level and o.granularity = n.granularity
                    and o.first_event = n.first_event + 16
                    """);
                break;
            case 6:
                await ledger.SqlAsync("""
                    with gone as (delete from bitmapledger.union_nodes where level = 1 and first_event % 48 = 1 returning *)
                    select count(*) from gone
                    """);
                await ledger.SqlAsync("""
                    insert into bitmapledger.union_nodes
                    select (jsonb_populate_record(n, jsonb_build_object('first_event', n.first_event - 16, 'last_event', n.last_event - 16))).*
                    from bitmapledger.union_nodes n where level = 1 and first_event % 48 = 17 on conflict do nothing
                    """);
                break;
            case 7:
                await ledger.SqlAsync("vacuum full bitmapledger.union_nodes");
                break;
            default:
                await GrowAsync(ledger, random.Next(30), random);
                if (random.Next(3) > 0)
                    await daemon.CatchUpAsync();
                break;
        }
    }

    private static async Task CompareAsync(TestLedger ledger, HistoryIndex fresh, Random random)
    {
        var last = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!;
        var (from, to) = (Math.Min(random.NextInt64(1, last.Event), random.NextInt64(1, last.Event)), random.NextInt64(1, last.Event + 1));
        var (begin, end) = (new Position(Math.Min(from, to), 0, default), new Position(Math.Max(from, to), long.MaxValue, default));
        var granularity = Granularity.FromShift(random.Next(2) == 0 ? 12 : 16);

        using var expected = await new ChangeReader(fresh).ReadAsync(ledger.VolumeId, TestLedger.Size, granularity, begin, end, _none);
        using var changed = await new ChangeReader(ledger.Index).ReadAsync(ledger.VolumeId, TestLedger.Size, granularity, begin, end, _none);

        Assert.Equal(expected.Map.Extents(), changed.Map.Extents());
        Assert.Equal((expected.IsExact, expected.Gaps.Count), (changed.IsExact, changed.Gaps.Count));
    }

    private static async Task CompareAsync(TestLedger ledger, RandomHistory history)
    {
        var changes = new ChangeReader(ledger.Index);
        for (var i = 0; i < 80; i++)
        {
            var (from, to) = history.Range();
            using var expected = history.Fold(Granularity.Default, from, to);
            using var changed = await changes.ReadAsync(
                ledger.VolumeId, history.SizeAt(to.Event), Granularity.Default, from, to, _none);
            Assert.Equal(expected.Changed.Extents(), changed.Map.Extents());
            Assert.Equal(expected.Gaps, changed.Gaps);
        }

        Assert.NotEqual(0, ledger.Index.Kept.Bytes);
    }

    private static async Task GrowAsync(TestLedger ledger, int events, Random random)
    {
        for (var i = 0; i < events; i++)
        {
            ledger.Write([.. Enumerable.Range(0, 5).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))]);
            // Ships, in the volume's lane.
            await ledger.Points.CurrentAsync("v", _none);
        }
    }

    private static async Task ProjectAsync(TestLedger ledger)
    {
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        await daemon.StopAllAsync();
    }
}
