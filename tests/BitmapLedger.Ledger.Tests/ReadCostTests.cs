using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>What is read to answer a question, counted: it grows with the range and the logarithm of the history, not with the
/// history.</summary>
public sealed class ReadCostTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly int[] _sizes = [300, 900, 3_000];

    // Method: the same questions to histories of 300, 900 and 3,000 events, the ranges at their ends of the same length. A level
    // of the tree more is at most fifteen nodes more at each edge of a range.
    [Fact]
    public async Task What_a_question_reads_grows_with_the_logarithm_of_the_history_and_no_more()
    {
        const int rowsMoreMax = 40;
        await using var ledger = await TestLedger.StartAsync(postgres);
        var history = new Grown(ledger);
        await history.AppendAsync(new BitmapAdded("all", 4096, false, true, 0), new BitmapAdded("recent", 65536, false, true, 0));
        // Only here is block 0 written.
        await history.AppendAsync(history.Writes(0));
        Dictionary<string, List<(long Rows, long Bytes)>> costs = [];
        foreach (var size in _sizes)
        {
            await history.GrowAsync(size - 100);
            await history.AppendAsync(new BitmapCleared("recent", history.LastLsn));
            await history.GrowAsync(size);
            await ProjectAsync(ledger);
            foreach (var (name, ask) in Questions(ledger, history))
            {
                var (rows, bytes) = (ledger.Index.Reads.Rows, ledger.Index.Reads.Bytes);
                await ask();
                costs.TryAdd(name, []);
                costs[name].Add((ledger.Index.Reads.Rows - rows, ledger.Index.Reads.Bytes - bytes));
            }
        }

        Assert.All(costs, cost =>
        {
            var (few, many) = (cost.Value[0], cost.Value[^1]);
            Assert.True(
                many.Rows <= few.Rows + rowsMoreMax && many.Bytes <= (2 * few.Bytes) + 20_000,
                $"{cost.Key}: {string.Join(", ", cost.Value)}");
        });

        // Without the tree the same meter shows the length of the history.
        await SqlAsync(ledger, "delete from bitmapledger.union_nodes");
        var before = ledger.Index.Reads.Rows;
        await Questions(ledger, history).Single(q => q.Name == "replay of a bitmap as old as the history").Ask();
        Assert.InRange(ledger.Index.Reads.Rows - before, 2_900, 3_100);
    }

    // Method: a stream as the shipper makes it, with commands in between; for each write the position is what a walk over the
    // stream says, by its LSN and by its time.
    [Fact]
    public async Task Every_write_is_found_by_its_number_and_by_its_time()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var random = new Random(11);
        for (var i = 0; i < 40; i++)
        {
            ledger.Write([.. Enumerable.Range(0, random.Next(1, 6)).Select(_ => (random.NextInt64(TestLedger.Size - 512), 512L))]);
            if (random.Next(3) == 0)
                await ledger.CommandAsync(lsn => new CheckpointCreated($"c{i}", ["v"], lsn));
            else
                await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
        }

        var state = await ledger.Points.CurrentAsync("v", _none);
        SingleWrite? before = null;
        await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, state.Event, _none))
        {
            var behind = (await ledger.Points.ResolveAsync($"event:{e.Version}", state, _none)).At;
            if (e.Data is not WritesRecorded { Packed: var packed })
            {
                Assert.Equal((e.Version, before?.Lsn ?? 0), (behind.Event, behind.Lsn));
                continue;
            }

            Assert.Equal((e.Version, packed.LastLsn), (behind.Event, behind.Lsn));
            foreach (var write in Writes(packed))
            {
                var byLsn = await ledger.Points.ResolveAsync($"lsn:{write.Lsn}", state, _none);
                Assert.Equal((e.Version, write.Lsn), (byLsn.At.Event, byLsn.At.Lsn));
                var instant = Timestamps.Show(Timestamps.FromMicroseconds(write.TimeMicroseconds));
                var byTime = await ledger.Points.ResolveAsync(instant, state, _none);
                Assert.True(byTime.At.Lsn >= write.Lsn, $"{instant} is before lsn {write.Lsn}");
                if (before is { } earlier && earlier.TimeMicroseconds + 1 < write.TimeMicroseconds)
                {
                    var between = Timestamps.Show(Timestamps.FromMicroseconds(write.TimeMicroseconds - 1));
                    Assert.Equal(earlier.Lsn, (await ledger.Points.ResolveAsync(between, state, _none)).At.Lsn);
                }

                before = write;
            }
        }

        Assert.Equal(state.LastLsn, before!.Value.Lsn);
    }

    // Method: what a filter lets pass is asked of the whole history, page by page, before there is a tree and with it.
    [Fact]
    public async Task A_filtered_history_is_what_passes_of_the_whole_one_in_pages_too()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var random = new Random(12);
        for (var i = 0; i < 60; i++)
        {
            ledger.Write((random.NextInt64(16) << 20, 512), (random.NextInt64(16) << 20, 512));
            await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
            if (i % 7 == 0)
                await ledger.CommandAsync(lsn => i == 35 ? new TrackingLost(lsn, lsn, "a test", lsn) : new CheckpointCreated($"c{i}", ["v"], lsn));
        }

        foreach (var projected in (bool[])[false, true])
        {
            if (projected)
                await ProjectAsync(ledger);
            List<long> touching = [];
            var state = await ledger.Points.CurrentAsync("v", _none);
            var filter = new HistoryFilter(null, null, [], 3 << 20, 1 << 20);
            await foreach (var e in ledger.Reader.ReadAsync(ledger.VolumeId, 0, state.Event, _none))
                if (Touches(e.Data, 3 << 20, 4 << 20))
                    touching.Add(e.Version);
            Assert.InRange(touching.Count, 2, 40);
            Assert.Equal(touching, await EventsAsync(filter));
            Assert.Equal(touching.Where(n => n > 20), await EventsAsync(filter with { From = "event:20" }));
            Assert.Equal(["TrackingLost"], await TypesAsync(filter with { Types = ["trackinglost"] }));
            Assert.Equal(8, (await TypesAsync(new(null, null, ["CheckpointCreated"], null, null))).Count);
            Assert.Equal(60, (await TypesAsync(new(null, null, ["WritesRecorded"], null, null))).Count);
        }

        async Task<List<long>> EventsAsync(HistoryFilter filter)
        {
            var whole = await ledger.Histories.AskAsync("v", filter, _none);
            Assert.False(whole.Answer.Exact);
            List<long> paged = [];
            var next = filter with { Limit = 3 };
            for (var page = await ledger.Histories.AskAsync("v", next, _none); ; page = await ledger.Histories.AskAsync("v", next, _none))
            {
                paged.AddRange(page.Answer.Events.Select(e => e.Event));
                if (page.Answer.Next is null)
                    break;
                next = next with { After = page.Answer.Next };
            }

            Assert.Equal(whole.Answer.Events.Select(e => e.Event), paged);
            List<long> streamed = [];
            await foreach (var page in ledger.Histories.PagesAsync("v", filter, _none))
                streamed.AddRange(page.Answer.Events.Select(e => e.Event));
            Assert.Equal(paged, streamed);
            return paged;
        }

        async Task<List<string>> TypesAsync(HistoryFilter filter) =>
            [.. (await ledger.Histories.AskAsync("v", filter, _none)).Answer.Events.Select(e => e.Type)];
    }

    private static List<SingleWrite> Writes(PackedWrites packed)
    {
        List<SingleWrite> writes = [];
        foreach (var write in packed)
            writes.Add(write);
        return writes;
    }

    private static bool Touches(object happened, long offset, long end) => happened is TrackingLost
        || (happened is WritesRecorded { Packed: var packed } && Writes(packed).Exists(w => w.Offset < end && w.End > offset));

    private static IEnumerable<(string Name, Func<Task> Ask)> Questions(TestLedger ledger, Grown history)
    {
        var now = new Position(history.Count, history.LastLsn, default);
        var changes = new ChangeReader(ledger.Index);
        yield return ("changed in the last 100 events", () => ChangedAsync(changes, ledger, history.Count - 100, now));
        yield return ("changed since the beginning", () => ChangedAsync(changes, ledger, 1, now));
        yield return ("replay of a bitmap as old as the history", () => ReplayAsync(ledger, now, "all"));
        yield return ("replay of a bitmap that was cleared 100 events ago", () => ReplayAsync(ledger, now, "recent"));
        yield return ("replay in the middle", () => ReplayAsync(ledger, new(history.Count / 2, long.MaxValue, default), "all"));
        yield return ("blame of a block that was written once", () => BlameAsync(ledger, now));
        yield return ("history of a block that was written once", () => StretchesAsync(ledger, now));
        (string Name, string Point)[] named =
        [
            ("an early write", "lsn:7"), ("the last write", $"lsn:{history.LastLsn}"), ("the last event", $"event:{history.Count}"),
            ("an instant", Timestamps.Show(history.Middle)),
        ];
        foreach (var (name, point) in named)
            yield return (name, async () =>
                await ledger.Points.ResolveAsync(point, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!, _none));
    }

    private static async Task ChangedAsync(ChangeReader changes, TestLedger ledger, long from, Position to)
    {
        using var changed = await changes.ReadAsync(
            ledger.VolumeId, TestLedger.Size, Granularity.Default, new(from, 0, default), to, _none);
        Assert.True(changed.IsExact);
    }

    private static async Task BlameAsync(TestLedger ledger, Position now)
    {
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        var found = 0;
        await foreach (var row in new TouchWalk(look, 0, 4096).BackAsync(new(1, 0, default), now, _none))
            found += row.IsWrites ? 1 : 0;
        Assert.Equal(1, found);
    }

    private static async Task StretchesAsync(TestLedger ledger, Position now)
    {
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        await foreach (var (first, last) in new TouchWalk(look, 0, 4096).StretchesAsync(0, now.Event, newestFirst: false, _none))
            Assert.InRange(last - first, 0, 15);
    }

    private static async Task ReplayAsync(TestLedger ledger, Position at, string bitmap)
    {
        await using var look = await ledger.Index.LookAsync(ledger.VolumeId, _none);
        var place = await look.StateAsync(at.Event, _none);
        using var bits = await BitsReader.OneAsync(look, place, at, WantedBits.Of(place.Bitmap(bitmap)!), _none);
        Assert.True(bits.IsExact);
    }

    private static async Task ProjectAsync(TestLedger ledger)
    {
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.RebuildProjectionAsync(UnionNodes.ProjectionName, TimeSpan.FromMinutes(5), _none);
        await daemon.StopAllAsync();
    }

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.NotEqual(0, await ledger.SqlAsync(sql));

    /// <summary>A stream that grows, five writes an event.</summary>
    private sealed class Grown(TestLedger ledger)
    {
        private readonly Random _random = new(10);
        private long _time = 1_950_000_000_000_000;

        public long Count { get; private set; } = 1;

        public long LastLsn { get; private set; }

        /// <summary>When the event in the middle happened.</summary>
        public DateTimeOffset Middle => Timestamps.FromMicroseconds(_time - ((_time - 1_950_000_000_000_000) / 2));

        public async Task GrowAsync(int count)
        {
            while (Count < count)
                await AppendAsync([.. Enumerable.Range(0, (int)Math.Min(100, count - Count)).Select(_ => Writes(1 << 20))]);
        }

        public async Task AppendAsync(params IVolumeEvent[] events)
        {
            var time = Timestamps.FromMicroseconds(_time);
            await ledger.Streams.AppendAsync([new(ledger.VolumeId, Count, [.. events.Select(e => new TimedEvent(e, time))])], null, null, _none);
            Count += events.Length;
        }

        public WritesRecorded Writes(long from)
        {
            var writes = Enumerable.Range(1, 5).Select(i => new SingleWrite(
                LastLsn + i, ++_time, WriteKind.Write, from == 0 ? 0 : 512 * _random.NextInt64(from / 512, TestLedger.Size / 512), 512, 1)).ToArray();
            LastLsn += 5;
            _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], []), out var packed);
            return new(packed!);
        }
    }
}
