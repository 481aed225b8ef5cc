using BitmapLedger.Contracts;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Checkpoints beside the decision state, not in it.</summary>
public sealed class CheckpointTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;

    [Fact]
    public async Task A_checkpoint_is_where_its_event_stands_until_it_is_removed_and_may_come_again()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        ledger.Write((0, 512), (4096, 512));
        var first = await ledger.CommandAsync(lsn => new CheckpointCreated("a/..b", ["v"], lsn));
        await ledger.CommandAsync(lsn => new CheckpointCreated("c", ["v"], lsn));
        var state = await ledger.Points.CurrentAsync("v", _none);

        var at = await ledger.Points.ResolveAsync("checkpoint:a/..b", state, _none);
        Assert.Equal((first, 2), (at.At.Event, at.At.Lsn));
        Assert.Equal(["a/..b", "c"], (await ledger.Streams.WithCheckpointsAsync([state], _none))[0].Checkpoints.Select(c => c.Name));

        await ledger.AppendAsync(state.Event, new CheckpointRemoved("c", 2), new CheckpointCreated("c", ["v"], 2), new CheckpointRemoved("a/..b", 2));
        var known = await ledger.Streams.WithCheckpointsAsync(state, ["c", "a/..b", "none"], _none);
        Assert.Equal([("c", state.Event + 2)], known.Checkpoints.Select(c => (c.Name, c.Event)));
        Assert.Equal(1, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.CheckpointCount);
        var gone = await Assert.ThrowsAsync<LedgerException>(() => ledger.Points.ResolveAsync("checkpoint:a/..b", state, _none));
        Assert.Equal(ErrorCode.NotFound, gone.Code);
    }

    // What is stored with every command and every block of writes.
    [Fact]
    public async Task The_decision_state_does_not_grow_with_the_number_of_checkpoints()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.CommandAsync(lsn => new CheckpointCreated("c0", ["v"], lsn));
        var one = await StateBytesAsync(ledger);
        await ledger.AppendAsync(2, [.. Enumerable.Range(1, 500).Select(i => new CheckpointCreated($"c{i}", ["v"], 0))]);

        Assert.InRange(await StateBytesAsync(ledger), one, one + 8);
        Assert.Equal(501, (await ledger.Streams.CheckpointsAsync(ledger.VolumeId, _none)).Count);
    }

    private static async Task<long> StateBytesAsync(TestLedger ledger)
    {
        await using var command = ledger.Source.CreateCommand("select length(data::text) from bitmapledger.mt_doc_volumestate");
        return Convert.ToInt64(await command.ExecuteScalarAsync(), null);
    }
}
