using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;

namespace BitmapLedger.Ledger.Tests;

public sealed class LedgerTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;

    // Method: 1,000 random writes with a checkpoint each 50; then pairs of LSNs, of events and of checkpoints
    // against the list.
    [Fact]
    public async Task Changed_and_replay_equal_a_naive_model_for_every_pair_tried()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        var random = new Random(1);
        var writes = Enumerable.Range(0, 1000).Select(
            _ => (Offset: random.NextInt64(TestLedger.Size - 9000), Length: random.NextInt64(1, 9000))).ToArray();
        List<long> checkpoints = [];
        foreach (var (chunk, i) in writes.Chunk(50).Select((c, i) => (c, i)))
        {
            ledger.Write(chunk);
            checkpoints.Add(await ledger.CommandAsync(lsn => new CheckpointCreated($"c{i}", ["v"], lsn)));
        }

        for (var pair = 0; pair < 120; pair++)
        {
            var from = random.Next(0, 1001);
            var to = random.Next(from, 1001);
            var changed = await ledger.Queries.ChangedAsync("v", $"lsn:{from}", $"lsn:{to}", 4096, null, _none);
            Assert.Equal(Extents.Touched(writes[from..to], 4096, TestLedger.Size), Pairs(changed.Extents!));
            Assert.Equal((from, to), (changed.From.Lsn, changed.To.Lsn));
            var replay = await ledger.Queries.ReplayAsync("v", $"lsn:{to}", null, null, _none);
            if (to > 0)
                Assert.Equal(Extents.Touched(writes[..to], 4096, TestLedger.Size), Pairs(replay.Bitmaps[0].Extents!));
        }

        for (var a = 0; a < checkpoints.Count; a++)
            for (var b = a; b < checkpoints.Count; b += 5)
            {
                var named = await ledger.Queries.ChangedAsync(
                    "v", $"checkpoint:c{a}", $"checkpoint:c{b}", 512, null, _none);
                var numbered = await ledger.Queries.ChangedAsync(
                    "v", $"event:{checkpoints[a]}", $"event:{checkpoints[b]}", 512, null, _none);
                Assert.Equal(Extents.Touched(
                    writes[((a + 1) * 50)..((b + 1) * 50)], 512, TestLedger.Size), Pairs(named.Extents!));
                Assert.Equal(named.Extents, numbered.Extents);
            }
    }

    [Fact]
    public async Task Two_shippers_racing_for_the_same_writes_ship_each_once()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var other = ledger.NewShipper();
        for (var round = 0; round < 10; round++)
        {
            ledger.Write([.. Enumerable.Range(0, 100).Select(i => (i * 512L, 512L))]);
            await Task.WhenAll(Try(ledger.Shipper), Try(other));
        }

        await Try(ledger.Shipper);
        List<long> lsns = [];
        await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, long.MaxValue, _none))
            if (e.Data is WritesRecorded writes)
                foreach (var write in writes.Packed)
                    lsns.Add(write.Lsn);
        Assert.Equal(Enumerable.Range(1, 1000).Select(i => (long)i), lsns);

        async Task Try(Shipping.Shipper shipper)
        {
            while (true)
            {
                try
                {
                    await shipper.ShipAllAsync(ledger.VolumeId, _none);
                    return;
                }
                catch (LedgerException second) when (second.Code == ErrorCode.Busy)
                {
                    // The other one was first; asked anew it sees so.
                }
            }
        }
    }

    [Fact]
    public async Task The_same_batch_sent_twice_is_there_once()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        _ = PackedWrites.TryRead(PackedWrites.Encode([new(1, 5, WriteKind.Write, 0, 512, 1)], [], []), out var packed);
        StreamAppend append = new(
            ledger.VolumeId, 1, [new(new WritesRecorded(packed!), DateTimeOffset.UnixEpoch.AddYears(55))]);

        await ledger.Streams.AppendAsync([append], null, null, _none);
        var second = await Assert.ThrowsAsync<LedgerException>(
            () => ledger.Streams.AppendAsync([append], null, null, _none));

        Assert.Equal(ErrorCode.Busy, second.Code);
        Assert.Equal((2, 1), (
            (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))! is var s ? (s.Event, s.LastLsn) : default));
    }

    [Fact]
    public async Task A_ledger_that_is_behind_what_the_journal_freed_says_so_and_calls_everything_changed()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        ledger.Write([.. Enumerable.Range(0, 3000).Select(i => (i * 512L, 512L))]);
        ledger.Journal.Release(2000);
        var oldest = ledger.Journal.OldestLsn;
        Assert.True(oldest > 1);

        var changed = await ledger.Queries.ChangedAsync("v", "start", null, null, null, _none);

        Assert.False(changed.Exact);
        Assert.Equal(oldest - 1, Assert.Single(changed.Gaps).ToLsn);
        Assert.Equal(TestLedger.Size, changed.ChangedBytes);
        Assert.Equal(3000, changed.To.Lsn);
    }

    [Fact]
    public async Task Blame_names_the_writes_newest_first_and_who_holds_them()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        ledger.Write((0, 512), (4096, 512));
        await ledger.CommandAsync(lsn => new CheckpointCreated("c", ["v"], lsn));
        await ledger.CommandAsync(lsn => new BitmapCleared("b0", lsn));
        ledger.Write((100, 50));

        var blame = await new Blame(ledger.Points, ledger.Streams, ledger.Index).AskAsync("v", 0, 512, null, null, null, _none);
        var cut = await new Blame(ledger.Points, ledger.Streams, ledger.Index).AskAsync("v", 0, 512, null, null, 1, _none);

        Assert.Equal([3, 1], blame.Writes.Select(w => w.Lsn));
        Assert.Equal(["b0", "checkpoint:c..now"], blame.Writes[0].HeldBy);
        Assert.Empty(blame.Writes[1].HeldBy);
        Assert.Equal("unix:pid=1,uid=0", blame.Writes[0].Client);
        Assert.True(blame.Complete);
        Assert.False(cut.Complete);
    }

    // Method: a random history with losses, recoveries and resizes; the same stretches at once, and in pages of random length.
    [Fact]
    public async Task Pages_of_a_blame_are_together_the_whole_answer_and_none_has_more_than_was_asked_for()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new RandomHistory(ledger, 11);
        await history.AppendAsync(150);
        var blame = new Blame(ledger.Points, ledger.Streams, ledger.Index);
        var random = new Random(11);
        var several = 0;
        for (var question = 0; question < 15; question++)
        {
            var (offset, length) = (random.NextInt64(history.SizeAt(history.Count)), random.NextInt64(1, 1 << random.Next(9, 24)));
            int? limit = random.Next(3) == 0 ? random.Next(1, 300) : Blame.LimitMax;
            var whole = await blame.AskAsync("v", offset, length, null, null, limit, _none);

            List<BlameWrite> paged = [];
            var reading = await blame.BeginAsync("v", offset, length, null, null, limit, _none);
            while (!reading.IsComplete && paged.Count < limit)
            {
                var most = Math.Min(limit.Value - paged.Count, random.Next(1, 300));
                var page = await reading.NextAsync(most, _none);
                Assert.InRange(page.Count, 0, most);
                several += paged.Count > 0 ? 1 : 0;
                paged.AddRange(page);
            }

            Assert.Equal(whole.Writes.Select(w => (w.Lsn, w.Event, w.Offset, w.Length)), paged.Select(w => (w.Lsn, w.Event, w.Offset, w.Length)));
            Assert.Equal((whole.Complete, whole.Exact), (reading.IsComplete, reading.IsExact));
            Assert.Equal(whole.Gaps, reading.Gaps);
        }

        Assert.NotEqual(0, several);
    }

    [Theory]
    [InlineData("event:99", ErrorCode.BadPoint)]
    [InlineData("lsn:99", ErrorCode.BadPoint)]
    [InlineData("2999-01-01T00:00:00Z", ErrorCode.BadPoint)]
    [InlineData("nonsense", ErrorCode.BadPoint)]
    [InlineData("checkpoint:zz", ErrorCode.NotFound)]
    [InlineData("slice:b0/1", ErrorCode.NotFound)]
    [InlineData("1999-01-01T00:00:00Z", ErrorCode.HistoryGone)]
    [InlineData("-300d", ErrorCode.HistoryGone)]
    public async Task A_point_outside_the_history_is_refused_by_its_text(string point, string code)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);

        var refusal = await Assert.ThrowsAsync<LedgerException>(
            () => ledger.Queries.ReplayAsync("v", point, null, null, _none));

        Assert.Equal(code, refusal.Code);
        // What is not found is named alone; a point that cannot be, as it was written.
        var named = code == ErrorCode.NotFound ? point.Split(':')[1].Split('/')[0] : point;
        Assert.Contains(named, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_schema_of_a_newer_version_and_a_missing_one_are_refused()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var schema = new LedgerSchema(ledger.Store, ledger.Source);
        await schema.RequireAsync(_none);
        await schema.RequireDurableAsync(_none);
        await using var raise = ledger.Source.CreateCommand("update bitmapledger.schema_version set version = 99");
        await raise.ExecuteNonQueryAsync();

        var newer = await Assert.ThrowsAsync<LedgerException>(() => schema.ApplyAsync(_none));
        await using var drop = ledger.Source.CreateCommand("drop table bitmapledger.schema_version");
        await drop.ExecuteNonQueryAsync();
        var missing = await Assert.ThrowsAsync<LedgerException>(() => schema.RequireAsync(_none));

        Assert.Contains("99", newer.Message, StringComparison.Ordinal);
        Assert.Contains("bml db apply", missing.Hint, StringComparison.Ordinal);
    }

    // The committed file is what a database administrator reviews: it changes when the code does.
    [Fact]
    public async Task The_exported_schema_is_the_one_of_the_code()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);

        Assert.Equal(
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "db", "schema.sql")),
            new LedgerSchema(ledger.Store, ledger.Source).Dump());
    }

    private static (long, long)[] Pairs(IEnumerable<ExtentAnswer> extents) =>
        [.. extents.Select(e => (e.Offset, e.Length))];
}
