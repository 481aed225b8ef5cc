using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Tests;

/// <summary>G6: dropping the projected bits and building them again yields the same bits.</summary>
public sealed class ProjectionTests(PostgresFixture postgres)
{
    [Fact]
    public async Task Rebuilt_bits_equal_the_projected_and_the_replayed_ones()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var random = new Random(2);
        await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        for (var i = 0; i < 30; i++)
        {
            ledger.Write([.. Enumerable.Range(
                0, 40).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))]);
            var name = $"b{i}";
            await ledger.CommandAsync(lsn => (i % 4) switch
            {
                0 => new BitmapCleared("b0", lsn),
                1 => new BitmapAdded(name, 512, false, true, lsn),
                2 => new BitmapDisabled("b0", lsn),
                _ => new BitmapEnabled("b0", lsn),
            });
        }

        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(TimeSpan.FromMinutes(2));
        var projected = await DigestsAsync(ledger);
        await daemon.StopAllAsync();
        await daemon.RebuildProjectionAsync(
            BitmapBits.ProjectionName, TimeSpan.FromMinutes(2), CancellationToken.None);
        var rebuilt = await DigestsAsync(ledger);

        using var replay = await ledger.Reader.ReplayAsync(
            ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), CancellationToken.None);
        Assert.Equal(Digests(replay), projected);
        Assert.Equal(projected, rebuilt);
        Assert.Equal(9, projected.Length);
    }

    private static async Task<string[]> DigestsAsync(TestLedger ledger)
    {
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, CancellationToken.None);
        return Digests(row);
    }

    private static string[] Digests(BitmapReplay replay) =>
        [.. replay.State.Bitmaps.Select(b => $"{replay.State.Event} {b.Name} {replay.Bits(b.Name).Sha256()}")];
}
