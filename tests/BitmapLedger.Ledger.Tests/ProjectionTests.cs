using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

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

    // Method: the projection sees pages as the daemon gives them, and the commit of one fails. What it kept in memory for the
    // next page is then of no use: the page comes again, with events behind it.
    [Fact]
    public async Task A_page_whose_commit_failed_is_projected_anew_from_the_row()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var projection = new BitmapBitsProjection(new(ledger.Source), ledger.Index);
        await GrowAsync(ledger, 20);
        await ProjectAsync(ledger, projection, 1, 22, commit: true);
        await GrowAsync(ledger, 20);
        await ledger.CommandAsync(lsn => new BitmapCleared("b0", lsn));
        await ProjectAsync(ledger, projection, 23, 43, commit: false);
        await ProjectAsync(ledger, projection, 23, 43, commit: true);
        await EqualAsync(ledger);

        await GrowAsync(ledger, 3);
        await ProjectAsync(ledger, projection, 44, 46, commit: false);
        await SqlAsync(ledger, "delete from bitmapledger.bitmap_bits");
        await ProjectAsync(ledger, projection, 1, 46, commit: true);
        await EqualAsync(ledger);
    }

    [Fact]
    public async Task Rows_are_the_same_bytes_however_the_events_are_cut_into_pages()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 20);
        await ledger.CommandAsync(lsn => new BitmapAdded("b1", 512, false, true, lsn));
        await GrowAsync(ledger, 21);
        HashSet<string> rows = [];
        foreach (var pageEvents in (int[])[100, 7, 1])
        {
            await SqlAsync(ledger, "delete from bitmapledger.bitmap_bits");
            var projection = new BitmapBitsProjection(new(ledger.Source), ledger.Index);
            for (var first = 1; first <= 44; first += pageEvents)
                await ProjectAsync(ledger, projection, first, Math.Min(44, first + pageEvents - 1), commit: true);
            await EqualAsync(ledger);
            rows.Add((string)(await SqlAsync(ledger, "select row_to_json(b)::text from bitmapledger.bitmap_bits b"))!);
        }

        // All but the latest writes are in the bitmaps.
        Assert.Contains("\"unfolded\":\"", Assert.Single(rows), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public async Task Rows_of_an_older_schema_are_followed_as_they_are(int version)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await GrowAsync(ledger, 30);
        await ProjectAsync(ledger, new(new(ledger.Source), ledger.Index), 1, 32, commit: true);
        await SqlAsync(
            ledger,
            $"""
            drop table bitmapledger.projection_versions;
            alter table bitmapledger.bitmap_bits drop column version{(version < 5 ? ", drop column unfolded" : "")},
                add constraint pkey_bitmap_bits_volume_id primary key (volume_id);
            alter table bitmapledger.slice_bits drop column version,
                add constraint pkey_slice_bits_volume_id_bitmap_slice primary key (volume_id, bitmap, slice);
            {(version < 6 ? "alter table bitmapledger.union_nodes drop column state;" : "")}
            update bitmapledger.schema_version set version = {version};
            """);

        Assert.True((await new LedgerSchema(ledger.Store, ledger.Source).ApplyAsync(CancellationToken.None)).Current);
        // Cut off before its last statement, an upgrade is begun again.
        await SqlAsync(ledger, $"update bitmapledger.schema_version set version = {version};");
        Assert.True((await new LedgerSchema(ledger.Store, ledger.Source).ApplyAsync(CancellationToken.None)).Current);
        await ledger.Store.Storage.Database.AssertDatabaseMatchesConfigurationAsync(CancellationToken.None);
        await GrowAsync(ledger, 4);
        await ProjectAsync(ledger, new(new(ledger.Source), ledger.Index), 33, 36, commit: true);
        await EqualAsync(ledger);
    }

    /// <summary>Events 2 on: a bitmap when there is none, and events of writes.</summary>
    private static async Task GrowAsync(TestLedger ledger, int events)
    {
        var random = new Random(events);
        if ((await ledger.Streams.LoadAsync(ledger.VolumeId, CancellationToken.None))!.Bitmap("b0") is null)
            await ledger.CommandAsync(lsn => new BitmapAdded("b0", 4096, false, true, lsn));
        for (var i = 0; i < events; i++)
        {
            ledger.Write([.. Enumerable.Range(0, 5).Select(_ => (random.NextInt64(TestLedger.Size - 9000), random.NextInt64(1, 9000)))]);
            await ledger.Shipper.ShipAllAsync(ledger.VolumeId, CancellationToken.None);
        }
    }

    private static async Task ProjectAsync(TestLedger ledger, BitmapBitsProjection projection, long first, long last, bool commit)
    {
        await using var session = ledger.Store.LightweightSession();
        var page = await session.Events.FetchStreamAsync(ledger.VolumeId, version: last, fromVersion: first);
        Assert.Equal(last - first + 1, page.Count);
        await projection.ApplyAsync(session, page, CancellationToken.None);
        if (commit)
            await session.SaveChangesAsync();
    }

    private static async Task<object?> SqlAsync(TestLedger ledger, string sql)
    {
        await using var command = ledger.Source.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }

    private static async Task EqualAsync(TestLedger ledger)
    {
        using var replay = await ledger.Reader.ReplayAsync(
            ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), CancellationToken.None);
        Assert.Equal(Digests(replay), await DigestsAsync(ledger));
    }

    private static async Task<string[]> DigestsAsync(TestLedger ledger)
    {
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, CancellationToken.None);
        return Digests(row);
    }

    private static string[] Digests(BitmapReplay replay) =>
        [.. replay.State.Bitmaps.Select(b => $"{replay.State.Event} {b.Name} {replay.Bits(b.Name).Sha256()}")];
}
