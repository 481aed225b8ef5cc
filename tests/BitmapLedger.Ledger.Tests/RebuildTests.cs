using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Testing;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>G6 and more: a projection is built again beside the one that answers are made of, is the same, byte for byte, and
/// no look at it ever finds less than the one before.</summary>
public sealed class RebuildTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);
    private static readonly string[] _names = [BitmapBits.ProjectionName, UnionNodes.ProjectionName];

    [Fact]
    public async Task A_version_built_from_the_streams_is_byte_for_byte_the_one_that_the_daemon_made()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 290);
        await ProjectAsync(ledger);
        var before = await RowsAsync(ledger);
        Assert.Single(before, r => r.Contains("\"level\": 2", StringComparison.Ordinal) && !r.Contains("\"state\": null", StringComparison.Ordinal));
        Assert.Equal(["1 1", "1 1", "1 1"], await VersionsAsync(ledger));

        foreach (var name in _names)
            await RebuildAsync(ledger, name);

        Assert.Equal(before, await RowsAsync(ledger));
        Assert.Equal(["2 2", "2 2", "2 2"], await VersionsAsync(ledger));
        await GrowAsync(ledger, 40);
        await ProjectAsync(ledger);
        await EqualAsync(ledger);
    }

    // Method: writes, commands and the daemon go on; each look at the bits is at least where the one before was, and each
    // answer is that of the fold.
    [Fact]
    public async Task While_it_is_built_and_writes_go_on_no_look_finds_less_than_the_one_before()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 130);
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(_limit);

        for (var round = 0; round < 3; round++)
        {
            var rebuilding = Task.WhenAll(_names.Select(n => RebuildAsync(ledger, n)));
            var (seen, sealedEvent) = (130L, 128L);
            do
            {
                using (var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, _none))
                    Assert.InRange(row.State.Event, seen, seen = row.State.Event);
                await using (var look = await ledger.Index.LookAsync(ledger.VolumeId, _none))
                    Assert.InRange(await look.SealedEventAsync(_none), sealedEvent, sealedEvent = await look.SealedEventAsync(_none));
                await GrowAsync(ledger, 2);
            }
            while (!rebuilding.IsCompleted);
            await rebuilding;
        }

        await daemon.WaitForNonStaleData(_limit);
        await daemon.StopAllAsync();
        await EqualAsync(ledger);
        var nodes = await ScalarAsync(ledger, "select count(*) from bitmapledger.union_nodes where level = 1");
        Assert.Equal((await LastAsync(ledger)) / 16, nodes);
        Assert.Equal(["4 4", "4 4", "4 4"], await VersionsAsync(ledger));
    }

    // The bits are put down on the way, and then the rebuild is cut off, as by the end of the program.
    [Fact]
    public async Task A_rebuild_that_is_cut_off_leaves_the_old_version_and_goes_on_from_where_it_was()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 130);
        await ProjectAsync(ledger);
        var before = await RowsAsync(ledger);
        using var cut = new CancellationTokenSource();
        var rebuild = new ProjectionRebuild(ledger.Store, ledger.Source, new HurryingClock(readings: 12, cut));
        Assert.Equal(2, await rebuild.BeginAsync(BitmapBits.ProjectionName, _none));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => rebuild.RunAsync(BitmapBits.ProjectionName, cut.Token));

        Assert.Equal(new(1, 2), await rebuild.VersionsAsync(BitmapBits.ProjectionName, _none));
        var built = await ScalarAsync(ledger, "select event from bitmapledger.bitmap_bits where version = 2");
        Assert.InRange(built, 16, 120);
        Assert.Equal(130 - built, await rebuild.BehindAsync(BitmapBits.ProjectionName, 2, _none));
        await EqualAsync(ledger);

        // Asked for again it is the same rebuild; what it has read it does not read again.
        await SqlAsync(ledger, $"update bitmapledger.mt_events set bdata = '\\x00' where bdata is not null and version < {built}");
        await RebuildAsync(ledger, BitmapBits.ProjectionName);
        Assert.Equal(before, await RowsAsync(ledger));
        Assert.Equal("2 2", (await VersionsAsync(ledger))[0]);
    }

    [Fact]
    public async Task A_rebuild_that_finds_a_damaged_event_changes_nothing_and_the_next_one_begins_anew()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 60);
        await ProjectAsync(ledger);
        var before = await RowsAsync(ledger);
        const string flip = "update bitmapledger.mt_events set bdata = set_byte(bdata, 40, get_byte(bdata, 40) # 1) where version = 40";
        await SqlAsync(ledger, flip);
        var rebuild = new ProjectionRebuild(ledger.Store, ledger.Source, TimeProvider.System);

        foreach (var name in _names)
        {
            await rebuild.BeginAsync(name, _none);
            var damage = await Assert.ThrowsAsync<CorruptionException>(() => rebuild.RunAsync(name, _none));
            Assert.Contains("event 40", damage.Message, StringComparison.Ordinal);
            await rebuild.AbandonAsync(name, _none);
            Assert.Equal(new(1, null), await rebuild.VersionsAsync(name, _none));
        }

        Assert.Equal(before, await RowsAsync(ledger));
        Assert.Equal(["1 1", "1 1", "1 1"], await VersionsAsync(ledger));
        await SqlAsync(ledger, flip);
        foreach (var name in _names)
            await RebuildAsync(ledger, name);
        Assert.Equal(before, await RowsAsync(ledger));
    }

    // kill -9 of PostgreSQL in the middle.
    [Fact]
    public async Task A_rebuild_that_loses_postgres_is_carried_out_when_it_is_back()
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var ledger = await TestLedger.StartAsync(cluster.ConnectionString);
        await GrowAsync(ledger, 130);
        await ProjectAsync(ledger);
        var before = await RowsAsync(ledger);
        using var cut = new CancellationTokenSource();
        foreach (var name in _names)
        {
            var rebuild = new ProjectionRebuild(
                ledger.Store, ledger.Source, new HurryingClock(readings: 12, cut) { AtEnd = () => cluster.KillAsync().GetAwaiter().GetResult() });
            await rebuild.BeginAsync(name, _none);
            var killing = name == UnionNodes.ProjectionName ? cluster.KillAsync() : Task.CompletedTask;
            await Assert.ThrowsAnyAsync<Exception>(() => rebuild.RunAsync(name, _none).WaitAsync(_limit));
            await killing;
            await cluster.StartAsync();
            NpgsqlConnection.ClearAllPools();
            Assert.Equal(before, await RowsAsync(ledger));
            await rebuild.RunAsync(name, _none);
            Assert.Equal(before, await RowsAsync(ledger));
        }

        Assert.Equal(["2 2", "2 2", "2 2"], await VersionsAsync(ledger));
    }

    // Method: the daemon has applied a page, and its commit comes when the new version counts already.
    [Fact]
    public async Task A_page_that_is_committed_behind_the_switch_is_not_lost()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var bits = new BitmapBitsProjection(new(ledger.Source), ledger.Index);
        await GrowAsync(ledger, 20);
        await PageAsync(ledger, bits, 1, 20);
        await new ProjectionVersions(ledger.Source).BeginAsync(BitmapBits.ProjectionName, _none);
        await SqlAsync(
            ledger,
            """
            insert into bitmapledger.bitmap_bits
            select volume_id, 2, event, state, names, bits, successors, unfolded from bitmapledger.bitmap_bits
            """);
        await GrowAsync(ledger, 10);

        await using (var session = ledger.Store.LightweightSession())
        {
            await bits.ApplyAsync(session, await session.Events.FetchStreamAsync(ledger.VolumeId, version: 30, fromVersion: 21), _none);
            await new ProjectionVersions(ledger.Source).SwitchAsync(BitmapBits.ProjectionName, () => Task.CompletedTask, _none);
            await session.SaveChangesAsync();
        }

        await GrowAsync(ledger, 5);
        await PageAsync(ledger, bits, 31, 35);
        await EqualAsync(ledger);
    }

    [Fact]
    public async Task Nodes_of_a_page_that_is_committed_behind_the_switch_are_in_the_new_version()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var nodes = new UnionNodesProjection(ledger.Index);
        var versions = new ProjectionVersions(ledger.Source);
        await GrowAsync(ledger, 48);
        await versions.BeginAsync(UnionNodes.ProjectionName, _none);

        await using var session = ledger.Store.LightweightSession();
        await nodes.ApplyAsync(session, await session.Events.FetchStreamAsync(ledger.VolumeId, version: 48), _none);
        var committing = Task.CompletedTask;
        await versions.SwitchAsync(UnionNodes.ProjectionName, async () =>
        {
            committing = session.SaveChangesAsync();
            while (await ScalarAsync(ledger, "select count(*) from pg_locks where not granted and locktype in ('tuple', 'transactionid')") == 0)
                Assert.False(committing.IsCompleted, "the page did not wait for the switch");
        }, _none);
        await committing;

        Assert.Equal("2 2", (await VersionsAsync(ledger))[2]);
        Assert.Equal(3, await ScalarAsync(ledger, "select count(*) from bitmapledger.union_nodes where version = 2"));
    }

    [Fact]
    public async Task Bits_that_somebody_deleted_are_made_again_from_the_stream()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var bits = new BitmapBitsProjection(new(ledger.Source), ledger.Index);
        await GrowAsync(ledger, 20);
        await PageAsync(ledger, bits, 1, 20);
        await SqlAsync(ledger, "delete from bitmapledger.bitmap_bits");
        await GrowAsync(ledger, 3);
        await PageAsync(ledger, bits, 21, 23);
        await EqualAsync(ledger);
    }

    /// <summary>Events of writes, with a command now and then, so that the stream has that many more.</summary>
    private static async Task GrowAsync(TestLedger ledger, int events)
    {
        var last = await LastAsync(ledger);
        var random = new Random((int)last);
        for (var number = last + 1; number <= (last == 1 ? events : last + events); number++)
        {
            if (number == 2)
                await ledger.DecideAsync(
                    new VolumeCommand.AddBitmap("b0", 4096, Disabled: false, Persistent: true), new VolumeCommand.SetRetention("b0", 3, "cycle"));
            else if (number % 37 == 0)
                await ledger.DecideAsync(new VolumeCommand.BankSlice("b0"));
            else if (number % 29 == 0)
                await ledger.DecideAsync(new VolumeCommand.AddBitmap($"b{number}", 512L << random.Next(8), Disabled: false, Persistent: true));
            else
                await WriteAsync(ledger, random);
            number = await LastAsync(ledger);
        }
    }

    private static async Task WriteAsync(TestLedger ledger, Random random)
    {
        ledger.Write([.. Enumerable.Range(0, 5).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))]);
        await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
    }

    private static async Task<long> LastAsync(TestLedger ledger) =>
        (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event;

    private static async Task RebuildAsync(TestLedger ledger, string name)
    {
        var rebuild = new ProjectionRebuild(ledger.Store, ledger.Source, TimeProvider.System);
        await rebuild.BeginAsync(name, _none);
        await rebuild.RunAsync(name, _none);
    }

    private static async Task ProjectAsync(TestLedger ledger)
    {
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(_limit);
        await daemon.StopAllAsync();
    }

    private static async Task PageAsync(TestLedger ledger, BitmapBitsProjection projection, long first, long last)
    {
        await using var session = ledger.Store.LightweightSession();
        await projection.ApplyAsync(
            session, await session.Events.FetchStreamAsync(ledger.VolumeId, version: last, fromVersion: first), _none);
        await session.SaveChangesAsync();
    }

    /// <summary>Everything in the versions that count, without their numbers.</summary>
    private static async Task<string[]> RowsAsync(TestLedger ledger)
    {
        List<string> rows = [];
        foreach (var (table, projection) in Tables)
        {
            await using var command = ledger.Source.CreateCommand(
                $"""
                select (to_jsonb(t) - 'version')::text from bitmapledger.{table} t
                join bitmapledger.projection_versions v on v.projection = '{projection}' and v.active = t.version order by 1
                """);
            await using var row = await command.ExecuteReaderAsync();
            while (await row.ReadAsync())
                rows.Add($"{table} {row.GetString(0)}");
        }

        return [.. rows];
    }

    /// <summary>Of each table the version that counts, and those that there are.</summary>
    private static async Task<string[]> VersionsAsync(TestLedger ledger)
    {
        List<string> versions = [];
        foreach (var (table, projection) in Tables)
        {
            await using var command = ledger.Source.CreateCommand(
                $"""
                select v.active || ' ' || coalesce((select string_agg(distinct version::text, ',') from bitmapledger.{table}), '')
                from bitmapledger.projection_versions v where v.projection = '{projection}'
                """);
            versions.Add((string)(await command.ExecuteScalarAsync())!);
        }

        return [.. versions];
    }

    private static IEnumerable<(string Table, string Projection)> Tables =>
        [("bitmap_bits", BitmapBits.ProjectionName), ("slice_bits", BitmapBits.ProjectionName), ("union_nodes", UnionNodes.ProjectionName)];

    private static async Task EqualAsync(TestLedger ledger)
    {
        using var replay = await ledger.Reader.ReplayAsync(
            ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), _none);
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, _none);
        Assert.Equal(Digests(replay), Digests(row));
    }

    private static string[] Digests(BitmapReplay replay) =>
    [
        $"event {replay.State.Event}",
        .. replay.State.Bitmaps.Select(b => $"{b.Name} {replay.Bits(b.Name).Sha256()}"),
        .. replay.State.Bitmaps.SelectMany(b => b.Slices.Select(s => $"slice {b.Name}/{s.Number} {replay.SliceBits(b.Name, s.Number).Sha256()}")),
    ];

    private static async Task<long> ScalarAsync(TestLedger ledger, string sql) => (long)(await ledger.ScalarAsync(sql))!;

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.NotEqual(0, await ledger.SqlAsync(sql));

    /// <summary>Twice as much time passes from one reading to the next as before; the last reading cuts off what reads
    /// it.</summary>
    private sealed class HurryingClock(int readings, CancellationTokenSource cut) : TimeProvider
    {
        private int _read;

        /// <summary>What else happens at the last reading.</summary>
        public Action? AtEnd { get; init; }

        public override long TimestampFrequency => 1;

        public override long GetTimestamp()
        {
            if (++_read == readings)
            {
                AtEnd?.Invoke();
                cut.Cancel();
            }

            return 1L << _read;
        }
    }
}
