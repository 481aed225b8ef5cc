using System.Security.Cryptography;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Testing;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The union tree makes answers quick and never different, whatever it holds and whatever happens to it.</summary>
public sealed class IndexTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(5);

    // Method: a random history of 700 events; then the same questions while the tree is empty, whole, behind the stream,
    // full of holes, and whole again, each against the fold of a list.
    [Fact]
    public async Task Whatever_the_tree_holds_changed_and_blame_equal_the_fold_of_the_stream()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 1);
        await history.AppendAsync(560);
        await CompareAsync(ledger, history, 40);

        await ProjectAsync(ledger);
        Assert.Equal((35, 2), (await NodesAsync(ledger, 1), await NodesAsync(ledger, 2)));
        await CompareAsync(ledger, history, 120);

        await history.AppendAsync(140);
        await CompareAsync(ledger, history, 60);

        await SqlAsync(ledger, "delete from bitmapledger.union_nodes where abs(hashint8(first_event * 16 + level)) % 3 = 0");
        await CompareAsync(ledger, history, 60);
        await ProjectAsync(ledger);
        await CompareAsync(ledger, history, 60);
    }

    // What is asked at a point is asked again as two halves: nothing falls between them and nothing is in neither.
    [Fact]
    public async Task What_changed_from_a_to_c_is_what_changed_from_a_to_b_and_from_b_to_c()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 2);
        await history.AppendAsync(400);
        await ProjectAsync(ledger);
        var changes = new ChangeReader(ledger.Index);
        for (var i = 0; i < 60; i++)
        {
            Position[] three = [history.Position(), history.Position(), history.Position()];
            three = [.. three.OrderBy(p => p.Event).ThenBy(p => p.Lsn)];
            var size = history.SizeAt(three[2].Event);
            using var first = await changes.ReadAsync(ledger.VolumeId, size, Granularity.Finest, three[0], three[1], _none);
            using var second = await changes.ReadAsync(ledger.VolumeId, size, Granularity.Finest, three[1], three[2], _none);
            using var both = await changes.ReadAsync(ledger.VolumeId, size, Granularity.Finest, three[0], three[2], _none);

            first.Map.UnionWith(second.Map);

            Assert.Equal(both.Map.Extents(), first.Map.Extents());
            Assert.Equal(both.IsExact, first.IsExact && second.IsExact);
            Assert.Equal(both.Gaps, [.. first.Gaps, .. second.Gaps]);
        }
    }

    [Fact]
    public async Task Rebuilt_while_writes_go_on_the_tree_is_the_same_byte_for_byte_and_no_answer_is_ever_different()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 3);
        await history.AppendAsync(530);
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(_limit);
        var before = await DigestAsync(ledger, 528);

        await daemon.StopAgentAsync($"{UnionNodes.ProjectionName}:All");
        var rebuilding = daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        do
        {
            await CompareAsync(ledger, history, 3);
            await history.AppendAsync(5);
        }
        while (!rebuilding.IsCompleted);
        await rebuilding;
        await daemon.StartAgentAsync($"{UnionNodes.ProjectionName}:All", _none);
        await daemon.WaitForNonStaleData(_limit);

        Assert.Equal(before, await DigestAsync(ledger, 528));
        Assert.Equal(history.Count / 16, await NodesAsync(ledger, 1));
        await CompareAsync(ledger, history, 30);
        await daemon.StopAllAsync();
    }

    // kill -9 of PostgreSQL in the middle; what the rebuild then says is not asked, only what comes of it.
    [Fact]
    public async Task A_rebuild_that_loses_postgres_is_done_again_and_changes_nothing()
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var ledger = await TestLedger.StartAsync(cluster.ConnectionString);
        var history = new RandomHistory(ledger, 4);
        await history.AppendAsync(300);
        await ProjectAsync(ledger);
        var before = await DigestAsync(ledger, 288);
        using (var daemon = await ledger.Store.BuildProjectionDaemonAsync())
        {
            var rebuilding = daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
            await cluster.KillAsync();
            await cluster.StartAsync();
            _ = await Record.ExceptionAsync(() => rebuilding.WaitAsync(TimeSpan.FromSeconds(20)));
            await daemon.StopAllAsync();
        }

        NpgsqlConnection.ClearAllPools();
        await CompareAsync(ledger, history, 30);
        await ProjectAsync(ledger);
        Assert.Equal(before, await DigestAsync(ledger, 288));
        await CompareAsync(ledger, history, 30);
    }

    [Fact]
    public async Task A_damaged_node_is_named_and_no_answer_is_made_of_it()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 5);
        await history.AppendAsync(40);
        await ProjectAsync(ledger);
        await SqlAsync(
            ledger, "update bitmapledger.union_nodes set bits = set_byte(bits, 30, get_byte(bits, 30) # 1) where level = 1 and first_event = 17");

        var damaged = await Assert.ThrowsAsync<CorruptionException>(() => new ChangeReader(ledger.Index).ReadAsync(
            ledger.VolumeId, TestLedger.Size, Granularity.FromShift(20), new(1, 0, default), new(40, long.MaxValue, default), _none));

        Assert.Contains("events 17 to 32", damaged.Message, StringComparison.Ordinal);
    }

    // What is read past Marten goes by the names that Marten gives.
    [Fact]
    public async Task Every_type_of_event_is_read_back_from_its_row_as_it_was_written()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 6);
        await history.AppendAsync(200);
        List<string> seen = [];
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        await using var raw = look.EventsAsync(0, history.Count, newestFirst: false, _none).GetAsyncEnumerator(_none);
        await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, history.Count, _none))
        {
            Assert.True(await raw.MoveNextAsync());
            var data = raw.Current.Data();
            Assert.Equal((e.Version, e.Timestamp, e.Data.GetType()), (raw.Current.Number, raw.Current.Time, data.GetType()));
            if (e.Data is WritesRecorded writes)
                Assert.Equal(writes.Packed.Bytes.ToArray(), ((WritesRecorded)data).Packed.Bytes.ToArray());
            else
                Assert.Equivalent(e.Data, data, strict: true);
            seen.Add(e.Data.GetType().Name);
        }

        Assert.False(await raw.MoveNextAsync());
        Assert.InRange(seen.Distinct().Count(), 6, 20);
    }

    private static async Task CompareAsync(TestLedger ledger, RandomHistory history, int questions)
    {
        var changes = new ChangeReader(ledger.Index);
        for (var i = 0; i < questions; i++)
        {
            var (from, to) = history.Range();
            var granularity = Granularity.FromShift(new[] { 9, 12, 16, 16, 20 }[i % 5]);
            using var expected = history.Fold(granularity, from, to);
            using var changed = await changes.ReadAsync(ledger.VolumeId, history.SizeAt(to.Event), granularity, from, to, _none);
            Assert.Equal(expected.Changed.Extents(), changed.Map.Extents());
            Assert.Equal(expected.IsExact, changed.IsExact);
            Assert.Equal(expected.Gaps, changed.Gaps);
            Assert.Equal(
                (history.SizeAt(from.Event), history.SizeAt(to.Event)),
                await changes.SizesAsync(ledger.VolumeId, history.SizeAt(history.Count), from, to, _none));

            var offset = (from.Lsn * 7919 + i * 65_521) % TestLedger.Size;
            var end = Math.Min(TestLedger.Size, offset + 1 + (i * 3571 % 200_000));
            Assert.Equal(history.Touching(offset, end, from, to), await TouchingAsync(ledger, offset, end, from, to));
        }
    }

    private static async Task<List<long>> TouchingAsync(TestLedger ledger, long offset, long end, Position from, Position to)
    {
        List<long> lsns = [];
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        await foreach (var row in new TouchWalk(look, offset, end).BackAsync(from, to, _none))
        {
            if (row.Data() is not WritesRecorded writes)
                continue;
            List<long> here = [];
            foreach (var write in writes.Packed)
                if (write.Offset < end && write.End > offset && write.Lsn > from.Lsn && write.Lsn <= to.Lsn)
                    here.Add(write.Lsn);
            here.Reverse();
            lsns.AddRange(here);
        }

        return lsns;
    }

    private static async Task ProjectAsync(TestLedger ledger)
    {
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, _limit, _none);
        await daemon.StopAllAsync();
    }

    private static async Task<long> NodesAsync(TestLedger ledger, int level)
    {
        await using var command = ledger.Source.CreateCommand($"select count(*) from bitmapledger.union_nodes where level = {level}");
        return (long)(await command.ExecuteScalarAsync())!;
    }

    private static async Task<string> DigestAsync(TestLedger ledger, long throughEvent)
    {
        await using var command = ledger.Source.CreateCommand(
            $"select string_agg(n::text, ' ' order by level, first_event) from bitmapledger.union_nodes n where last_event <= {throughEvent}");
        var rows = (string)(await command.ExecuteScalarAsync())!;
        return Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(rows)));
    }

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.NotEqual(0, await ledger.SqlAsync(sql));
}
