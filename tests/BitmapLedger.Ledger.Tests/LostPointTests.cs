using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Points that were given before a loss of power took the writes that they name: somebody may have read those.</summary>
public sealed class LostPointTests(PostgresFixture postgres)
{
    private const long Block = 65_536;
    private const long LostAt = 2 * Block;
    private static readonly CancellationToken _none = CancellationToken.None;

    // Method: three writes are recorded, and LSNs up to 20 were given; what those have touched and may have reverted is
    // recovered. Then commands, at the ceiling or before, and writes above it.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_range_from_a_write_that_a_power_loss_took_holds_what_may_have_reverted(bool isCommanded)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await RecoverAsync(ledger, isCommanded);

        foreach (var lsn in new[] { 4, 12, 20 })
        {
            var changed = await ledger.Queries.ChangedAsync("v", $"lsn:{lsn}", "now", Block, null, _none);
            Assert.Equal([new(LostAt, Block), new(5 * Block, Block)], changed.Extents!);
            Assert.False(changed.Exact);
            Assert.Equal(($"lsn:{lsn}", 3), (changed.From.Asked, changed.From.Lsn));
        }

        // Recorded ones are where they are.
        foreach (var (lsn, extents) in new (int, ExtentAnswer[])[] { (3, [new(LostAt, Block), new(5 * Block, Block)]), (21, [new(5 * Block, Block)]) })
        {
            var changed = await ledger.Queries.ChangedAsync("v", $"lsn:{lsn}", "now", Block, null, _none);
            Assert.Equal(extents, changed.Extents!);
            Assert.Equal(lsn, changed.From.Lsn);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Up_to_a_write_that_a_power_loss_took_counts_what_it_may_have_written(bool isCommanded)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await RecoverAsync(ledger, isCommanded);

        foreach (var lsn in new[] { 4, 12, 20 })
        {
            var changed = await ledger.Queries.ChangedAsync("v", "start", $"lsn:{lsn}", Block, null, _none);
            Assert.Equal([new(0, 3 * Block)], changed.Extents!);
            Assert.False(changed.Exact);
            var replay = await ledger.Queries.ReplayAsync("v", $"lsn:{lsn}", "b0", null, _none);
            // A bitmap that was cleared only behind it.
            Assert.Equal([new(0, 3 * Block)], Assert.Single(replay.Bitmaps).Extents!);
            Assert.False(replay.Exact);
        }
    }

    [Fact]
    public async Task A_write_that_a_gap_took_is_behind_the_beginning_of_the_gap_and_before_its_end()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.AppendAsync(1, Writes((1, 0), (2, Block)), new TrackingLost(2, 10, "a test", 10), Writes((11, 5 * Block)));

        var since = await ledger.Queries.ChangedAsync("v", "lsn:7", "now", Block, null, _none);
        var until = await ledger.Queries.ChangedAsync("v", "start", "lsn:7", Block, null, _none);

        Assert.All([since, until], c => Assert.Equal((false, TestLedger.Size), (c.Exact, c.ChangedBytes)));
        Assert.All([since, until], c => Assert.Single(c.Gaps));
        Assert.True((await ledger.Queries.ChangedAsync("v", "start", "lsn:2", Block, null, _none)).Exact);
        Assert.True((await ledger.Queries.ChangedAsync("v", "lsn:11", "now", Block, null, _none)).Exact);
    }

    // A write whose record the disk refused has an LSN that is void: nothing of it was ever there to be read.
    [Fact]
    public async Task An_LSN_that_was_passed_over_is_where_it_was()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.AppendAsync(1, Writes((1, 0), (2, Block)), new CheckpointCreated("c", ["v"], 2), Writes(voids: [new(3, 4)], (5, 5 * Block)));

        var since = await ledger.Queries.ChangedAsync("v", "lsn:4", "now", Block, null, _none);
        var until = await ledger.Queries.ChangedAsync("v", "start", "lsn:4", Block, null, _none);

        Assert.Equal([new(5 * Block, Block)], since.Extents!);
        Assert.Equal([new(0, 2 * Block)], until.Extents!);
        Assert.True(since.Exact && until.Exact);
        Assert.Equal((4, 4), (since.From.Lsn, until.To.Lsn));
    }

    private static async Task RecoverAsync(TestLedger ledger, bool isCommanded)
    {
        List<IVolumeEvent> events =
        [
            new BitmapAdded("b0", (int)Block, false, true, 0), Writes((1, 0), (2, 0), (3, Block)),
            new WritesRecovered([new(LostAt, 512)], 3),
        ];
        // A command that rotates stands where the journal goes on.
        if (isCommanded)
            events.AddRange([new CheckpointCreated("c", ["v"], 20), new BitmapCleared("b0", 20)]);
        await ledger.AppendAsync(1, [.. events, Writes(voids: [new(4, 20)], (21, 5 * Block), (22, 5 * Block)), new BitmapCleared("b0", 22)]);
    }

    private static WritesRecorded Writes(params (long Lsn, long Offset)[] writes) => Writes([], writes);

    private static WritesRecorded Writes(LsnRange[] voids, params (long Lsn, long Offset)[] writes)
    {
        SingleWrite[] singles = [.. writes.Select(w => new SingleWrite(w.Lsn, 1_800_000_000_000_000, WriteKind.Write, w.Offset, 512, 1))];
        _ = PackedWrites.TryRead(PackedWrites.Encode(singles, [], voids), out var packed);
        return new(packed!);
    }
}
