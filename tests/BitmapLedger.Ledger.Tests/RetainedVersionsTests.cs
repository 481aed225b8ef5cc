using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Retention of the history while versions of projections stand side by side, writes go on, or a row lags.</summary>
public sealed class RetainedVersionsTests(PostgresFixture postgres)
{
    private const string Long = "1000y";

    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);
    private static readonly CommandOrigin _origin = new("somebody", "a test", CommandId: null);

    // Where the last events are forgotten no node says how far a rebuild is.
    [Fact]
    public async Task A_history_of_which_everything_is_forgotten_is_rebuilt_to_its_end()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 300);
        await using var daemon = await RunningDaemon.StartAsync(ledger);

        var done = await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none);
        Assert.Equal(300, done.History.EventsBefore);
        await daemon.CatchUpAsync();
        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.union_nodes"));
        await daemon.RebuildAsync();
        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.union_nodes"));

        await GrowAsync(ledger, 60);
        await daemon.CatchUpAsync();
        await EqualAsync(ledger);
        var before = await RowsAsync(ledger);
        // Of events 305 to 352.
        Assert.Equal(3L, await ledger.ScalarAsync("select count(*) from bitmapledger.union_nodes"));
        await daemon.RebuildAsync();
        Assert.Equal(before, await RowsAsync(ledger));
    }

    [Fact]
    public async Task Nodes_of_what_is_forgotten_go_from_the_version_that_is_being_built_too()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 100);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        await new ProjectionVersions(ledger.Source).BeginAsync(UnionNodes.ProjectionName, _none);
        await ledger.SqlAsync("""
            insert into bitmapledger.union_nodes
            select (jsonb_populate_record(n, '{"version": 2}')).* from bitmapledger.union_nodes n
            """);

        await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none);

        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.union_nodes"));
    }

    // Method: the row of a version stands in the middle of events that were coalesced since, as one does that was put down by a
    // rebuild, or that a page of the daemon did not get because another version began to count.
    [Theory]
    [InlineData(6)]
    [InlineData(13)]
    [InlineData(15)]
    public async Task Bits_that_stand_among_coalesced_events_go_on_to_the_same_row(int at)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(new VolumeCommand.AddBitmap("b0", 4096, Disabled: false, Persistent: true));
        await GrowAsync(ledger, at - 2);
        await using (await RunningDaemon.StartAsync(ledger))
            await ledger.SqlAsync("create table bitmapledger.early as select * from bitmapledger.bitmap_bits");
        await GrowAsync(ledger, 20 - at);
        await using (var daemon = await RunningDaemon.StartAsync(ledger))
        {
            await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
            await daemon.CatchUpAsync();
        }

        var before = await RowsAsync(ledger);
        Assert.Equal((long)at, await ledger.ScalarAsync("select event from bitmapledger.early"));

        await new ProjectionVersions(ledger.Source).BeginAsync(BitmapBits.ProjectionName, _none);
        await ledger.SqlAsync("update bitmapledger.early set version = 2; insert into bitmapledger.bitmap_bits select * from bitmapledger.early");
        await new ProjectionRebuild(ledger.Store, ledger.Source, TimeProvider.System).RunAsync(BitmapBits.ProjectionName, _none);
        Assert.Equal(before, await RowsAsync(ledger));

        await ledger.SqlAsync("delete from bitmapledger.bitmap_bits; insert into bitmapledger.bitmap_bits select * from bitmapledger.early");
        await using var session = ledger.Store.LightweightSession();
        var page = await session.Events.FetchStreamAsync(ledger.VolumeId, version: 16, fromVersion: at + 2);
        await new BitmapBitsProjection(new(ledger.Source), ledger.Index).ApplyAsync(session, page.Count > 0
            ? page
            : await session.Events.FetchStreamAsync(ledger.VolumeId, version: 20, fromVersion: 17), _none);
        await session.SaveChangesAsync();
        await EqualAsync(ledger);
    }

    // Method: every write is marked in a map as it is shipped; retention, rebuilds and the daemon go on all the while.
    [Fact]
    public async Task While_writes_and_rebuilds_go_on_retention_takes_nothing_from_any_bit()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(new VolumeCommand.AddBitmap("b0", 4096, Disabled: false, Persistent: true));
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        using var written = new NativeBitmap(TestLedger.Size, Granularity.FromBytes(4096));
        var ended = false;
        var writing = Task.Run(async () =>
        {
            while (!Volatile.Read(ref ended))
                await GrowAsync(ledger, 1, written);
        });
        var rebuilding = Task.Run(async () =>
        {
            while (!Volatile.Read(ref ended))
                await daemon.RebuildAsync();
        });

        var replaced = 0L;
        for (var round = 0; round < 12; round++)
            replaced += (await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none)).History.EventsBefore;

        Volatile.Write(ref ended, true);
        await Task.WhenAll(writing, rebuilding).WaitAsync(_limit);
        Assert.True(replaced > 20, $"{replaced} events were replaced");
        await daemon.CatchUpAsync();
        await EqualAsync(ledger);
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, _none);
        Assert.Equal(written.Sha256(), row.Bits("b0").Sha256());
        var changed = await ledger.Queries.ChangedAsync("v", "start", "now", 4096, null, _none);
        Assert.True(changed.Exact);
        Assert.Equal(written.Extents().Select(e => (e.Offset, e.Length)), changed.Extents!.Select(e => (e.Offset, e.Length)));
        var before = await RowsAsync(ledger);
        await daemon.RebuildAsync();
        Assert.Equal(before, await RowsAsync(ledger));
    }

    [Fact]
    public async Task What_a_dry_run_says_is_what_the_data_of_the_events_takes_less_afterwards()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 70);
        await ledger.DecideAsync(new VolumeCommand.AddBitmap("b0", 512, Disabled: false, Persistent: true));
        await GrowAsync(ledger, 70);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        const string data = "select count(*), sum(octet_length(bdata)) from bitmapledger.mt_events where bdata is not null";
        var before = await PairAsync(ledger, data);
        var all = await ledger.ScalarAsync("select string_agg(md5(e::text), '' order by seq_id) from bitmapledger.mt_events e");

        var tried = (await ledger.Retainer.TryAsync("v", "0s", "0s", _none)).History;
        Assert.Equal(tried, (await ledger.Retainer.TryAsync("v", "0s", "0s", _none)).History);
        Assert.Equal(all, await ledger.ScalarAsync("select string_agg(md5(e::text), '' order by seq_id) from bitmapledger.mt_events e"));
        Assert.Equal(1L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_streams"));
        var done = (await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none)).History;

        Assert.Equal(tried, done);
        Assert.Equal(before, (tried.EventsBefore, tried.BytesBefore));
        Assert.Equal((tried.EventsAfter, tried.BytesAfter), await PairAsync(ledger, data));
        Assert.True(tried.BytesAfter < tried.BytesBefore);
    }

    /// <summary>Events of writes.</summary>
    private static async Task GrowAsync(TestLedger ledger, int events, NativeBitmap? written = null)
    {
        var random = new Random((int)ledger.Journal.LastLsn);
        for (var i = 0; i < events; i++)
        {
            (long Offset, long Length)[] writes =
                [.. Enumerable.Range(0, 5).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))];
            ledger.Write(writes);
            foreach (var (offset, length) in writes)
                written?.MarkDirty(offset, length);
            // Ships, in the volume's lane.
            await ledger.Points.CurrentAsync("v", _none);
        }
    }

    /// <summary>The row that counts is what the stream folds to.</summary>
    private static async Task EqualAsync(TestLedger ledger)
    {
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, _none);
        using var fold = await ledger.Reader.ReplayAsync(ledger.VolumeId, new Position(row.State.Event, long.MaxValue, default), _none);
        Assert.Equal(Digests(fold), Digests(row));
    }

    private static string[] Digests(BitmapReplay replay) =>
        [$"event {replay.State.Event}", .. replay.State.Bitmaps.Select(b => $"{b.Name} {replay.Bits(b.Name).Sha256()}")];

    /// <summary>Everything in the versions that count, without their numbers.</summary>
    private static async Task<string[]> RowsAsync(TestLedger ledger)
    {
        List<string> rows = [];
        foreach (var (table, projection) in ((string, string)[])[
            ("bitmap_bits", BitmapBits.ProjectionName), ("slice_bits", BitmapBits.ProjectionName), ("union_nodes", UnionNodes.ProjectionName)])
            rows.Add($"{await ledger.ScalarAsync($"""
                select string_agg((to_jsonb(t) - 'version')::text, ' ' order by to_jsonb(t)::text) from bitmapledger.{table} t
                join bitmapledger.projection_versions v on v.projection = '{projection}' and v.active = t.version
                """)}");
        return [.. rows];
    }

    private static async Task<(long, long)> PairAsync(TestLedger ledger, string sql)
    {
        await using var command = ledger.Source.CreateCommand(sql);
        await using var row = await command.ExecuteReaderAsync();
        await row.ReadAsync();
        return (row.GetInt64(0), row.GetInt64(1));
    }
}
