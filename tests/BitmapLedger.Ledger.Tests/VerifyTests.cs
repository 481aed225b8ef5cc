using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Verification finds what was changed by hand in PostgreSQL, and the event from which on it differs.</summary>
public sealed class VerifyTests(PostgresFixture postgres)
{
    private const long Block = 65536;
    private static readonly CancellationToken _none = CancellationToken.None;

    // The history of each test: block 1 before the clear (event 4), which is event 5; then blocks 2, 3 and 4, an event each; a
    // slice is banked at event 9, and block 5 comes behind it.
    private const long Cleared = 5;
    private const long Second = 7;
    private const long Banked = 9;

    [Fact]
    public async Task Projected_and_replayed_bits_of_bitmaps_and_slices_are_equal()
    {
        await using var ledger = await HistoryAsync();

        var verified = await VerifyAsync(ledger);
        var before = await ledger.Verifier.VerifyAsync("v", $"event:{Banked - 1}", _none);

        Assert.True(verified.Equal);
        Assert.Null(verified.FirstDifference);
        Assert.Equal(("b0", 0), (verified.Slices![0].Bitmap, verified.Slices[0].Slice));
        Assert.Equal(verified.Slices[0].Replayed, verified.Slices[0].Projected);
        Assert.Equal((verified.Bitmaps[0].Replayed, null), (verified.Bitmaps[0].Projected, verified.Bitmaps[0].Live));
        // The row is further than this point; the tree says what it was.
        Assert.True(before.Equal);
        Assert.Null(before.Slices);
        Assert.Equal(verified.Slices[0].Replayed, before.Bitmaps[0].Projected);
    }

    [Fact]
    public async Task A_projected_slice_that_lacks_a_block_differs_from_the_event_that_wrote_it_first()
    {
        await using var ledger = await HistoryAsync();
        await ReplaceAsync(ledger, "update bitmapledger.slice_bits set bits = $1", 2, 4);

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, Second), (verified.Equal, verified.FirstDifference));
        Assert.NotEqual(verified.Slices![0].Replayed, verified.Slices[0].Projected);
        Assert.Equal(verified.Bitmaps[0].Replayed, verified.Bitmaps[0].Projected);
    }

    [Fact]
    public async Task A_projected_bitmap_with_a_block_too_many_differs_from_the_event_that_emptied_it()
    {
        await using var ledger = await HistoryAsync();
        await ReplaceAsync(ledger, "update bitmapledger.bitmap_bits set bits = array[$1]", 1);

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, Banked), (verified.Equal, verified.FirstDifference));
        Assert.NotEqual(verified.Bitmaps[0].Replayed, verified.Bitmaps[0].Projected);
    }

    [Fact]
    public async Task A_row_that_cannot_be_read_is_damaged_and_named_by_the_event_that_it_stands_at()
    {
        await using var ledger = await HistoryAsync();
        await SqlAsync(ledger, "update bitmapledger.bitmap_bits set bits[1] = set_byte(bits[1], 20, get_byte(bits[1], 20) # 1)");

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event), (verified.Equal, verified.FirstDifference));
        Assert.Equal("damaged", verified.Bitmaps[0].Projected);
    }

    [Fact]
    public async Task A_damaged_event_of_writes_is_named_and_nothing_behind_it_is_replayed()
    {
        await using var ledger = await HistoryAsync();
        await SqlAsync(ledger, $"update bitmapledger.mt_events set bdata = set_byte(bdata, 40, get_byte(bdata, 40) # 1) where version = {Second}");

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, Second), (verified.Equal, verified.FirstDifference));
        Assert.Equal("damaged", verified.Bitmaps[0].Replayed);
    }

    [Theory]
    [InlineData("data = jsonb_set(data, '{name}', '\"nobody\"')")]
    [InlineData("type = 'never_heard_of'")]
    public async Task A_damaged_event_of_a_command_is_named(string change)
    {
        await using var ledger = await HistoryAsync();
        await SqlAsync(ledger, $"update bitmapledger.mt_events set {change} where version = {Cleared}");

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, Cleared), (verified.Equal, verified.FirstDifference));
    }

    [Fact]
    public async Task An_event_that_was_changed_to_another_good_one_shows_where_the_row_lacks_what_it_writes_now()
    {
        await using var ledger = await HistoryAsync();
        await SqlAsync(
            ledger,
            $"""
            update bitmapledger.mt_events set bdata = (select bdata from bitmapledger.mt_events where version = {Cleared - 1})
            where version = {Second}
            """);

        var verified = await VerifyAsync(ledger);

        Assert.Equal((false, Second), (verified.Equal, verified.FirstDifference));
    }

    // Method: each projection is walked over the same history; then its rows are changed by hand and it is walked again.
    [Fact]
    public async Task A_walk_says_what_each_event_changes_and_whether_what_is_stored_is_the_same()
    {
        await using var ledger = await HistoryAsync();
        var last = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event;

        var bits = await WalkAsync(ledger, BitmapBits.ProjectionName, "event:1");
        Assert.Equal(Enumerable.Range(2, (int)last - 1).Select(n => (long)n), bits.Select(s => s.Event));
        Assert.Equal(["b0 added 0 0 0"], Said(bits, 2));
        Assert.Equal([$"b0  {Block} 0 {Block}"], Said(bits, 4));
        Assert.Equal([$"b0  0 {Block} 0"], Said(bits, Cleared));
        Assert.Equal([$"b0  {Block} 0 {2 * Block}"], Said(bits, Second));
        Assert.Equal([$"b0  0 {3 * Block} 0", $"slice:b0/0 added {3 * Block} 0 {3 * Block}"], Said(bits, Banked));
        Assert.Equal([(3 * Block, Block)], bits[(int)Second - 2].Bits![0].Extents.Select(e => (e.Offset, e.Length)));
        Assert.Equal("same", bits[^1].Stored);
        Assert.All(bits.SkipLast(1), s => Assert.Null(s.Stored));

        var nodes = await WalkAsync(ledger, UnionNodes.ProjectionName, "event:1");
        Assert.Equal([(16, 1L, 16L, 5 * Block, "same")], nodes.SelectMany(
            s => s.Nodes!.Select(n => ((int)s.Event, n.First, n.Last, n.TouchedBytes, n.Stored))));

        var members = await WalkAsync(ledger, "volume-state", $"event:{Banked - 1}");
        Assert.Equal(["bitmaps", "event"], members[0].Members!.Select(m => m.Member).Order(StringComparer.Ordinal));
        Assert.Equal((Banked, Banked - 1), (members[0].Event, members[0].Members!.Single(m => m.Member == "event").Before!.Value.GetInt64()));
        Assert.Equal("same", members[^1].Stored);

        await ReplaceAsync(ledger, "update bitmapledger.slice_bits set bits = $1", 2, 4);
        await SqlAsync(ledger, "delete from bitmapledger.union_nodes");
        Assert.Equal("different", (await WalkAsync(ledger, BitmapBits.ProjectionName, $"event:{last - 1}"))[0].Stored);
        Assert.Equal("missing", (await WalkAsync(ledger, UnionNodes.ProjectionName, "event:1")).SelectMany(s => s.Nodes!).Single().Stored);
        await Assert.ThrowsAsync<LedgerException>(() => WalkAsync(ledger, "nothing", "event:1"));
    }

    private async Task<TestLedger> HistoryAsync()
    {
        var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(
            new VolumeCommand.AddBitmap("b0", Block, Disabled: false, Persistent: true), new VolumeCommand.SetRetention("b0", 3));
        await WriteAsync(ledger, 1);
        await ledger.DecideAsync(new VolumeCommand.ClearBitmap("b0"));
        foreach (var block in (int[])[2, 3, 4])
            await WriteAsync(ledger, block);
        await ledger.DecideAsync(new VolumeCommand.BankSlice("b0"));
        for (var i = 0; i < 8; i++)
            await WriteAsync(ledger, 5);
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(TimeSpan.FromMinutes(5));
        await daemon.StopAllAsync();
        return ledger;
    }

    private static async Task WriteAsync(TestLedger ledger, int block)
    {
        ledger.Write((block * Block, 512));
        await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
    }

    private static async Task<VerifyAnswer> VerifyAsync(TestLedger ledger)
    {
        var last = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event;
        return await ledger.Verifier.VerifyAsync("v", $"event:{last}", _none);
    }

    private static async Task<List<ProjectionStep>> WalkAsync(TestLedger ledger, string projection, string from)
    {
        List<ProjectionStep> steps = [];
        await foreach (var step in (await ledger.Steps.WalkAsync(projection, "v", from, "now", _none)).Steps)
            steps.Add(step);
        return steps;
    }

    private static IEnumerable<string> Said(List<ProjectionStep> steps, long number) =>
        steps.Single(s => s.Event == number).Bits!.Select(b => $"{b.Name} {b.Change} {b.SetBytes} {b.ClearedBytes} {b.Count}");

    /// <summary>Puts other bits, good ones, where projected ones are.</summary>
    private static async Task ReplaceAsync(TestLedger ledger, string sql, params IReadOnlyList<long> blocks)
    {
        using var map = new NativeBitmap(TestLedger.Size, Granularity.FromBytes(Block));
        foreach (var block in blocks)
            map.MarkBlocks(new(block, 1));
        await using var command = ledger.Source.CreateCommand(sql);
        command.Parameters.Add(new() { Value = BitmapCodec.Encode(map) });
        Assert.Equal(1, await command.ExecuteNonQueryAsync());
    }

    private static async Task SqlAsync(TestLedger ledger, string sql) => Assert.Equal(1, await ledger.SqlAsync(sql));
}
