using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Retention of the history on PostgreSQL, under Marten's daemon.</summary>
public sealed class RetentionTests(PostgresFixture postgres)
{
    private const string Long = "1000y";

    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);
    private static readonly CommandOrigin _origin = new("somebody", "a test", CommandId: null);

    [Fact]
    public async Task Coalesced_projections_and_their_rebuild_are_the_same_bytes_and_answers_between_events_that_are_left_are_exact()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 11);
        await history.AppendAsync(280);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var before = await RowsAsync(ledger);

        var tried = await ledger.Retainer.TryAsync("v", "0s", Long, _none);
        Assert.Equal(history.Count, await CountAsync(ledger));
        var done = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);

        Assert.Equal(tried.History, done.History);
        Assert.Equal(history.Count + 1, done.Event);
        Assert.Equal(history.Count + 1 - done.History.EventsBefore + done.History.EventsAfter, await CountAsync(ledger));
        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where type = 'writes_recorded'"));
        Assert.Equal(1L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_streams"));
        Assert.Equal(
            "BitmapLedger.Domain.WritesRecorded, BitmapLedger.Domain",
            ((string)(await ledger.ScalarAsync("select min(mt_dotnet_type) from bitmapledger.mt_events where type = 'history_coalesced'"))!)
                .Replace("HistoryCoalesced", "WritesRecorded", StringComparison.Ordinal));
        await daemon.CatchUpAsync();
        await CompareAsync(ledger, history);
        var after = await RowsAsync(ledger);
        Assert.Equal(before.Nodes, after.Nodes);
        await daemon.RebuildAsync();
        var rebuilt = await RowsAsync(ledger);
        Assert.Equal(after.Nodes.Split('\n'), rebuilt.Nodes.Split('\n'));
        Assert.Equal(after.Bits, rebuilt.Bits);
        await CompareAsync(ledger, history);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_nothing_needs_is_forgotten_and_bits_and_ranges_since_the_oldest_checkpoint_stay(bool isCoalescedBefore)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 40);
        var state = await ledger.Points.CurrentAsync("v", _none);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var c = await ledger.Points.ResolveAsync("checkpoint:c", state, _none);
        var changed = await ledger.Queries.ChangedAsync("v", "checkpoint:c", null, 4096, null, _none);
        var replay = await ledger.Queries.ReplayAsync("v", "now", null, null, _none);
        var then = await ledger.Queries.ReplayAsync("v", "checkpoint:c", null, null, _none);

        if (isCoalescedBefore)
        {
            await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
            state = await ledger.Points.CurrentAsync("v", _none);
        }

        var done = await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none);
        await daemon.CatchUpAsync();

        Assert.Equal(state.Event, done.History.KeptFrom!.Event);
        const string forgotten = "select count(*) from bitmapledger.mt_events where octet_length(bdata) = 65 and version";
        Assert.InRange((long)(await ledger.ScalarAsync($"{forgotten} < {c.At.Event}"))!, 2, 40);
        Assert.Equal(0L, await ledger.ScalarAsync($"{forgotten} > {c.At.Event}"));
        foreach (var gone in (string[])["start", "event:3", "lsn:1", $"event:{c.At.Event}", $"lsn:{state.LastLsn - 1}", "2026-01-01T00:00:00Z"])
        {
            var failure = await Assert.ThrowsAsync<LedgerException>(() => ledger.Queries.ReplayAsync("v", gone, null, null, _none));
            Assert.Equal((ErrorCode.HistoryGone, true), (failure.Code, failure.KeptFrom is not null));
        }

        var now = await ledger.Queries.ChangedAsync("v", "checkpoint:c", null, 4096, null, _none);
        Assert.True(now.Exact);
        Assert.Equal(changed.Extents, now.Extents);
        Assert.Empty(now.Gaps);
        Assert.Equal(Digests(replay), Digests(await ledger.Queries.ReplayAsync("v", "now", null, null, _none)));
        Assert.Equal(Digests(then), Digests(await ledger.Queries.ReplayAsync("v", "checkpoint:c", null, null, _none)));
        var nodes = await RowsAsync(ledger);
        await daemon.RebuildAsync();
        Assert.Equal(nodes, await RowsAsync(ledger));
    }

    [Fact]
    public async Task A_point_among_coalesced_writes_is_their_beginning_or_their_end_and_says_so()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 6);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var state = await ledger.Points.CurrentAsync("v", _none);
        var before = (await ledger.Reader.AtOrAfterAsync(ledger.VolumeId, 4, _none))!;
        await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        state = await ledger.Points.CurrentAsync("v", _none);
        var exactFrom = Contracts.Points.Timestamps.Show(state.Retained!.ExactFrom.Time);

        // Events 3 to 8 hold LSNs 1 to 30.
        foreach (var point in (string[])["event:4", "lsn:7", Contracts.Points.Timestamps.Show(before.Timestamp)])
        {
            var (from, to) = await ledger.Points.RangeAsync(point, point, state, _none);
            Assert.Equal((2L, 0L, 8L, 30L), (from.At.Event, from.At.Lsn, to.At.Event, to.At.Lsn));
            var changed = await ledger.Queries.ChangedAsync("v", point, "now", null, null, _none);
            Assert.Equal((false, 2L), (changed.Exact, changed.From.Event));
            Assert.Equal(new(0, 30, HistoryCoalesced.Why, exactFrom), changed.Gaps.Single());
            Assert.False((await ledger.Queries.ReplayAsync("v", point, null, null, _none)).Exact);
        }

        Assert.True((await ledger.Queries.ChangedAsync("v", "start", "now", null, null, _none)).Exact);
        Assert.True((await ledger.Queries.ReplayAsync("v", "lsn:30", null, null, _none)).Exact);
        var blame = await new Reading.Blame(ledger.Points, ledger.Streams, ledger.Index).AskAsync("v", 0, TestLedger.Size, null, null, null, _none);
        Assert.Equal((false, 0, 30L), (blame.Exact, blame.Writes.Count, blame.Gaps.Single().ToLsn));
        var heat = await new Reading.Heat(ledger.Points, ledger.Reader).AskAsync("v", null, null, null, null, null, _none);
        Assert.Equal((false, 0L, 30L), (heat.Exact, heat.Writes, heat.Gaps.Single().ToLsn));
        var events = (await ledger.Histories.AskAsync("v", new(null, null, [], null, null), _none)).Answer;
        Assert.False(events.Exact);
        Assert.Equal(
            "1 VolumeCreated, 2 BitmapAdded, 8 HistoryCoalesced, 9 HistoryRetained",
            string.Join(", ", events.Events.Select(e => $"{e.Event} {e.Type}")));
        Assert.Equal((1, 30, 30L), (events.Events[2].Lsn.First, events.Events[2].Lsn.Last, events.Events[2].Writes!.Value));
    }

    [Fact]
    public async Task Writes_and_commands_go_on_behind_a_coalesced_history_and_only_what_is_new_is_coalesced_again()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 20);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var first = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        await GrowAsync(ledger, 5);
        var expected = await ReplayedAsync(ledger);

        var second = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        var third = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);

        Assert.Equal(20, first.History.EventsBefore);
        Assert.Equal(5, second.History.EventsBefore);
        Assert.Equal((0, second.Event), (third.History.EventsBefore, third.Event));
        Assert.Equal(expected, await ReplayedAsync(ledger));
        var none = await ledger.Retainer.RetainAsync("v", "1h", Long, _origin, _none);
        Assert.Equal((0, second.Event), (none.History.EventsBefore, none.Event));
    }

    // Method: what was coalesced before cannot be read while the next retention runs.
    [Fact]
    public async Task A_retention_begins_where_the_one_before_it_ended()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 40);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var first = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        await GrowAsync(ledger, 5);
        var expected = await ReplayedAsync(ledger);
        await ledger.ScalarAsync("create table kept as select seq_id, bdata from bitmapledger.mt_events where type = 'history_coalesced'");
        await ledger.ScalarAsync("update bitmapledger.mt_events set bdata = substring(bdata for octet_length(bdata) - 1) where type = 'history_coalesced'");

        var second = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        var tried = await ledger.Retainer.TryAsync("v", "0s", Long, _none);

        await ledger.ScalarAsync("update bitmapledger.mt_events e set bdata = k.bdata from kept k where k.seq_id = e.seq_id");
        Assert.Equal((40, 5, 0), (first.History.EventsBefore, second.History.EventsBefore, tried.History.EventsBefore));
        Assert.Equal(expected, await ReplayedAsync(ledger));
        var state = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!;
        Assert.Equal((second.Event, second.Event - 1), (state.Retained!.Event, state.Retained.ExactFrom.Event));
    }

    [Fact]
    public async Task A_blame_that_is_read_in_pages_ends_with_an_error_when_the_history_is_retained_between_two()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 6);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var blame = new Reading.Blame(ledger.Points, ledger.Streams, ledger.Index);
        var whole = await blame.AskAsync("v", 0, TestLedger.Size, null, null, null, _none);
        var undisturbed = await blame.BeginAsync("v", 0, TestLedger.Size, null, null, null, _none);
        var reading = await blame.BeginAsync("v", 0, TestLedger.Size, null, null, null, _none);

        IReadOnlyList<Contracts.Answers.BlameWrite> paged = [.. await undisturbed.NextAsync(10, _none), .. await undisturbed.NextAsync(100, _none)];
        Assert.Equal(whole.Writes, paged, (one, other) => one.Lsn == other.Lsn);
        Assert.Equal(10, (await reading.NextAsync(10, _none)).Count);
        await ledger.Retainer.RetainAsync("v", "0s", "0s", _origin, _none);

        var refused = await Assert.ThrowsAsync<LedgerException>(() => reading.NextAsync(10, _none));
        Assert.Equal(ErrorCode.HistoryGone, refused.Code);
        Assert.False(reading.IsComplete);
    }

    [Fact]
    public async Task The_same_command_id_acts_once_and_answers_the_same()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 5);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        var origin = _origin with { CommandId = "retain-1" };
        var first = await ledger.Retainer.RetainAsync("v", "0s", Long, origin, _none);
        await GrowAsync(ledger, 3);

        var again = await ledger.Retainer.RetainAsync("v", "0s", Long, origin, _none);

        Assert.Equal(first, again);
        Assert.Equal(3L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where type = 'writes_recorded'"));
        var other = await Assert.ThrowsAsync<LedgerException>(() => ledger.Retainer.RetainAsync("v", "1s", Long, origin, _none));
        Assert.Equal(ErrorCode.BadArgument, other.Code);
        var less = await Assert.ThrowsAsync<LedgerException>(() => ledger.Retainer.RetainAsync("v", "2d", "1d", _origin, _none));
        Assert.Equal(ErrorCode.BadArgument, less.Code);
    }

    // Method: the database forbids the deletion, as a server that dies between the transaction and it would leave it.
    [Fact]
    public async Task Cut_off_before_the_archive_is_deleted_the_history_is_the_new_one_and_the_next_retention_deletes_it()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 20);
        var expected = await ReplayedAsync(ledger);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        await ledger.SqlAsync("""
            create function bitmapledger.refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$;
            create trigger refuse before delete on bitmapledger.mt_streams for each row execute function bitmapledger.refuse();
            """);
        await Assert.ThrowsAsync<PostgresException>(() => ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none));
        Assert.Equal(20L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where is_archived"));
        Assert.Equal(expected, await ReplayedAsync(ledger));
        await ledger.SqlAsync("drop trigger refuse on bitmapledger.mt_streams");

        var again = await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);

        Assert.Equal(0, again.History.EventsBefore);
        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where is_archived"));
        Assert.Equal(1L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_streams"));
        Assert.Equal(expected, await ReplayedAsync(ledger));
    }

    // Method: as above, and a bit of what was stored is lost meanwhile.
    [Fact]
    public async Task What_does_not_hold_all_of_the_archived_events_is_named_and_they_stay()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 20);
        await using var daemon = await RunningDaemon.StartAsync(ledger);
        await ledger.SqlAsync("""
            create function bitmapledger.lose() returns trigger language plpgsql as $$ begin
                if new.type = 'history_coalesced' then new.bdata := (select w.bdata from bitmapledger.lost w); end if;
                return new;
            end $$;
            """);
        using (var empty = new NativeBitmap(TestLedger.Size, Granularity.FromBytes(4096)))
        {
            await using var table = ledger.Source.CreateCommand("create table bitmapledger.lost as select $1::bytea as bdata");
            table.Parameters.Add(new() { Value = Bitmaps.Writes.CoalescedWrites.Encode(new(3, 1, 70, 1, 2, 70, 70 * 512), empty) });
            await table.ExecuteNonQueryAsync();
        }

        await ledger.SqlAsync("create trigger lose before insert on bitmapledger.mt_events for each row execute function bitmapledger.lose()");
        var failure = await Assert.ThrowsAsync<CorruptionException>(() => ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none));

        Assert.Contains("event 16", failure.Message, StringComparison.Ordinal);
        Assert.Equal(20L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where is_archived"));
    }

    // kill -9 of PostgreSQL at any moment: the history is the old or the new one.
    [Fact]
    public async Task Postgres_killed_at_any_moment_of_a_retention_loses_nothing_and_asked_again_it_goes_on()
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var ledger = await TestLedger.StartAsync(cluster.ConnectionString);
        await GrowAsync(ledger, 60);
        var expected = await ReplayedAsync(ledger);
        var random = new Random(7);
        for (var kill = 0; kill < 4; kill++)
        {
            await using (await RunningDaemon.StartAsync(ledger))
            {
                var retaining = ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
                await Task.WhenAny(retaining, Task.Delay(random.Next(1, 120)));
                await cluster.KillAsync();
                _ = await Record.ExceptionAsync(() => retaining.WaitAsync(_limit));
                await cluster.StartAsync();
                NpgsqlConnection.ClearAllPools();
            }

            ledger.Shipper.Forget(ledger.VolumeId);
            Assert.Equal(expected, await ReplayedAsync(ledger));
            await GrowAsync(ledger, 3);
            expected = await ReplayedAsync(ledger);
        }

        await using var last = await RunningDaemon.StartAsync(ledger);
        await ledger.Retainer.RetainAsync("v", "0s", Long, _origin, _none);
        Assert.Equal(expected, await ReplayedAsync(ledger));
        Assert.Equal(0L, await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where is_archived or type = 'writes_recorded'"));
    }

    /// <summary>A bitmap, a number of events of five writes each, and with many a checkpoint and a cleared bitmap among
    /// them.</summary>
    private static async Task GrowAsync(TestLedger ledger, int events)
    {
        var random = new Random(events);
        if ((await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Bitmap("b0") is null)
            await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        for (var i = 0; i < events; i++)
        {
            ledger.Write([.. Enumerable.Range(0, 5).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))]);
            await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
            if (events == 40 && i == 20)
            {
                await ledger.CommandAsync(lsn => new BitmapCleared("b0", lsn));
                await ledger.CommandAsync(lsn => new CheckpointCreated("c", ["v"], lsn));
            }
        }
    }

    private static async Task CompareAsync(TestLedger ledger, RandomHistory history)
    {
        var changes = new ChangeReader(ledger.Index);
        List<long> left = [];
        await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, history.Count, _none))
            left.Add(e.Version);
        Assert.InRange(left.Count, 20, history.Count / 2);
        var random = new Random(3);
        for (var i = 0; i < 60; i++)
        {
            var (a, b) = (left[random.Next(left.Count)], left[random.Next(left.Count)]);
            var (from, to) = (history.Behind(Math.Min(a, b)), history.Behind(Math.Max(a, b)));
            var granularity = Granularity.FromShift(i % 2 == 0 ? 16 : 20);
            using var expected = history.Fold(granularity, from, to);
            using var changed = await changes.ReadAsync(ledger.VolumeId, history.SizeAt(to.Event), granularity, from, to, _none);
            if (changed.IsExact)
                Assert.Equal(expected.Changed.Extents(), changed.Map.Extents());
            Assert.True(changed.IsExact == expected.IsExact || history.SizeAt(to.Event) % granularity.Bytes != 0);
            Assert.Equal(expected.Gaps, changed.Gaps);
            expected.Changed.UnionWith(changed.Map);
            Assert.Equal(changed.Map.Extents(), expected.Changed.Extents());
        }
    }

    /// <summary>Everything that is projected.</summary>
    private static async Task<(string Nodes, string Bits)> RowsAsync(TestLedger ledger) => (
        $"{await ledger.ScalarAsync("select string_agg((to_jsonb(n) - 'version')::text, '\n' order by level, first_event) from bitmapledger.union_nodes n")}",
        $"{await ledger.ScalarAsync("select string_agg((to_jsonb(b) - 'version')::text, ' ') from bitmapledger.bitmap_bits b")}");

    private static async Task<IReadOnlyList<string>> ReplayedAsync(TestLedger ledger)
    {
        using var replay = await ledger.Reader.ReplayAsync(ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), _none);
        return [.. replay.State.Bitmaps.Select(b => $"{b.Name} {replay.State.LastLsn} {replay.Bits(b.Name).Sha256()}")];
    }

    private static IEnumerable<string> Digests(Contracts.Answers.ReplayAnswer answer) =>
        answer.Bitmaps.Select(b => $"{b.Name} {b.Count} {b.Sha256} {answer.Exact}");

    private static async Task<long> CountAsync(TestLedger ledger) =>
        (long)(await ledger.ScalarAsync("select count(*) from bitmapledger.mt_events where not is_archived"))!;
}
