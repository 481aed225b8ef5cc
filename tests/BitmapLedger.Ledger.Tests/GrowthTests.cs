using BitmapLedger.Contracts;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Writes to a volume that has grown at the Agent before the ledger knows.</summary>
public sealed class GrowthTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;

    [Fact]
    public async Task A_write_behind_the_known_end_waits_for_the_event_of_the_new_size_and_is_then_in_every_bitmap()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.CommandAsync(lsn => new BitmapAdded("b0", 65536, false, true, lsn));
        ledger.Write((0, 512), (TestLedger.Size, 512));

        var refused = await Assert.ThrowsAsync<LedgerException>(() => ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none));
        Assert.Equal(ErrorCode.Busy, refused.Code);
        Assert.Equal((2, 0), (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))! is var s ? (s.Event, s.LastLsn) : default);

        await ledger.AppendAsync(2, new VolumeResized(TestLedger.Size, TestLedger.Size * 2, 0));
        await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
        using var replay = await ledger.Reader.ReplayAsync(ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), _none);
        Assert.Equal([(0, 65536), (TestLedger.Size, 65536)], replay.Bits("b0").Extents().Select(e => (e.Offset, e.Length)));
    }
}
