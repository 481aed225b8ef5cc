using System.Security.Cryptography;
using BitmapLedger.Contracts;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Slices, merges and sizes in the database: projected, rebuilt, upgraded, asked for.</summary>
public sealed class SliceTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;

    // Method: random writes and commands; the daemon is stopped in the middle, so that it goes on from rows that it reads.
    [Fact]
    public async Task Projected_bits_of_bitmaps_slices_and_successors_equal_the_replayed_and_the_rebuilt_ones()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var random = new Random(3);
        await ledger.DecideAsync(Add("b0", 4096), Add("b1", 512), new VolumeCommand.SetRetention("b0", 3, "cycle"));
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 9; i++)
            {
                Write(ledger, random);
                await ledger.DecideAsync(i switch
                {
                    0 or 3 or 6 => new VolumeCommand.BankSlice("b0"),
                    1 => new VolumeCommand.MergeBitmap("b1", [new("b0")]),
                    2 => new VolumeCommand.ResizeVolume(TestLedger.Size - ((round + 1) * 100_352)),
                    4 => new VolumeCommand.MergeBitmap("b0", [new("b1")]),
                    5 => new VolumeCommand.DeleteSlice("b0", (await SlicesAsync(ledger))[1]),
                    7 => new VolumeCommand.StartBackup("j", "incremental", ["b0"]),
                    _ => new VolumeCommand.StartBackup("k", "differential", ["b1"]),
                });
            }

            Write(ledger, random);
            await ProjectAsync(ledger);
            await EqualAsync(ledger);
            await ledger.DecideAsync(
                new VolumeCommand.EndBackup("j", new BackupOutcome.Succeeded()), new VolumeCommand.EndBackup("k", new BackupOutcome.Cancelled()));
        }

        await ProjectAsync(ledger);
        await EqualAsync(ledger);
        var projected = await RowsAsync(ledger);
        using (var daemon = await ledger.Store.BuildProjectionDaemonAsync())
            await daemon.RebuildProjectionAsync(BitmapBits.ProjectionName, TimeSpan.FromMinutes(2), _none);
        Assert.Equal(projected, await RowsAsync(ledger));
        Assert.Equal(3, projected.Count(r => r.StartsWith("slice", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_database_of_an_earlier_version_is_upgraded_with_its_states_and_bits()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(Add("b0", 4096), Add("b1", 512));
        ledger.Write((0, 512), (90_000, 1));
        await ledger.DecideAsync(new VolumeCommand.CreateCheckpoint("c", ["v"]), new VolumeCommand.ClearBitmap("b1"), new VolumeCommand.DisableBitmap("b0"));
        ledger.Write((0, 512));
        await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
        var state = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!;
        await ExecuteAsync(ledger, OldSchema);
        Assert.Empty((await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Bitmap("b0")!.Bits.Terms);
        await Assert.ThrowsAsync<LedgerException>(() => new LedgerSchema(ledger.Store, ledger.Source).RequireAsync(_none));

        await new LedgerSchema(ledger.Store, ledger.Source).ApplyAsync(_none);

        var json = ledger.Store.Options.Serializer();
        Assert.Equal(json.ToJson(state), json.ToJson((await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!));
        Assert.Equal("c", Assert.Single(await ledger.Streams.CheckpointsAsync(ledger.VolumeId, _none)).Name);
        await new LedgerSchema(ledger.Store, ledger.Source).RequireAsync(_none);
        await ProjectAsync(ledger);
        await EqualAsync(ledger);
    }

    [Fact]
    public async Task Points_name_where_slices_begin_and_end()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(Add("a/b", 4096), new VolumeCommand.SetRetention("a/b", 5));
        for (var i = 0; i < 3; i++)
        {
            ledger.Write((i * 65536, 1));
            await ledger.DecideAsync(new VolumeCommand.BankSlice("a/b"));
        }

        ledger.Write((3 * 65536, 1));

        Assert.Equal([(131072, 131072)], await ChangedAsync(ledger, "slice:a/b/1"));
        Assert.Equal([(65536, 196608)], await ChangedAsync(ledger, "slice-start:a/b/1"));
        Assert.Equal([(65536, 65536)], await ChangedAsync(ledger, "slice-start:a/b/1", "slice:a/b/1"));
        Assert.Equal([(0, 65536)], await ChangedAsync(ledger, "slice-start:a/b/0", "slice:a/b/0"));
        await ledger.DecideAsync(new VolumeCommand.DeleteSlice("a/b", 1));
        Assert.Equal([(0, 131072)], await ChangedAsync(ledger, "slice-start:a/b/0", "slice:a/b/0"));
        foreach (var gone in new[] { "slice:a/b/1", "slice-start:a/b/1", "slice:a/b/7", "slice:nope/0" })
        {
            var refusal = await Assert.ThrowsAsync<LedgerException>(() => ledger.Queries.ChangedAsync("v", gone, null, null, null, _none));
            Assert.Equal(ErrorCode.NotFound, refusal.Code);
            Assert.StartsWith("Slice ", refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Slices_are_listed_with_count_digest_points_and_cause()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(Add("b0", 65536), new VolumeCommand.SetRetention("b0", 5));
        ledger.Write((0, 1), (65536, 1));
        await ledger.DecideAsync(new VolumeCommand.BankSlice("b0"));
        await ProjectAsync(ledger);
        ledger.Write((0, 1));
        await ledger.DecideAsync(new VolumeCommand.StartBackup("j", "incremental", ["b0"]));
        await ledger.DecideAsync(new VolumeCommand.EndBackup("j", new BackupOutcome.Succeeded()));
        var reader = new SliceReader(ledger.Points, ledger.Index);

        var slices = await reader.ListAsync("v", "b0", _none);

        Assert.Equal(
            [(0, 131072, "manual", "slice-start:b0/0", 0, 2), (1, 65536, "backup", "slice-start:b0/1", 2, 3)],
            slices.Select(s => ((int)s.Slice, s.Count, s.Cause, s.From.Answer.Asked, s.From.Answer.Lsn, s.To.Answer.Lsn)));
        // 256 blocks are 32 bytes, which are 4 words.
        Assert.Equal([Digest(3), Digest(1)], slices.Select(s => s.Sha256));
        var unknown = await Assert.ThrowsAsync<LedgerException>(() => reader.ListAsync("v", "nope", _none));
        Assert.Equal("Dirty bitmap 'nope' not found", unknown.Message);

        static string Digest(byte first) => Convert.ToHexStringLower(SHA256.HashData([first, .. new byte[31]]));
    }

    [Fact]
    public async Task Checkpoints_are_listed_with_their_parents_and_what_changed_since()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        for (var i = 0; i < 4; i++)
        {
            await ledger.DecideAsync(new VolumeCommand.CreateCheckpoint($"c{i}", ["v"]));
            for (var j = 0; j < 70; j++)
            {
                ledger.Write((i * 65536, 1));
                await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
            }
        }

        await ledger.DecideAsync(new VolumeCommand.CreateCheckpoint("last", ["v"]), new VolumeCommand.DeleteCheckpoint("c1"));
        var reader = new CheckpointReader(ledger.Points, ledger.Streams, new(ledger.Index));

        var checkpoints = await reader.ListAsync("v", _none);

        Assert.Equal(
            [("c0", null, 262144), ("c2", "c0", 131072), ("c3", "c2", 65536), ("last", "c3", 0)],
            checkpoints.Select(c => (c.Name, c.Parent, c.Count)));
        Assert.Equal([0, 140, 210, 280], checkpoints.Select(c => c.At.Answer.Lsn));
        Assert.All(checkpoints, c => Assert.True(c.Exact));
    }

    [Fact]
    public async Task Blame_names_slices_and_follows_merges_and_shrinks()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(Add("b0", 512), new VolumeCommand.SetRetention("b0", 5));
        ledger.Write((0, 512), (8 << 20, 512));
        await ledger.DecideAsync(
            new VolumeCommand.BankSlice("b0"), new VolumeCommand.AddBitmap("copy", 512, Disabled: true, Persistent: true),
            new VolumeCommand.CreateCheckpoint("c", ["v"]));
        ledger.Write((0, 512), (8 << 20, 512));
        await ledger.DecideAsync(
            new VolumeCommand.MergeBitmap("copy", [new("b0")]), new VolumeCommand.ClearBitmap("b0"),
            new VolumeCommand.ResizeVolume(4 << 20), new VolumeCommand.ResizeVolume(TestLedger.Size));

        Assert.Equal(["slice:b0/0", "copy checkpoint:c..now"], await HeldAsync(ledger, 0));
        Assert.Equal(["", "checkpoint:c..now"], await HeldAsync(ledger, 8 << 20));
    }

    // Whoever shrinks a disk and grows it again finds zeroes there: a range must say so, a bitmap follows QEMU.
    [Fact]
    public async Task A_shrink_counts_as_a_trim_of_the_tail_for_ranges()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.DecideAsync(Add("b0", 65536));
        ledger.Write((15 << 20, 1 << 20));
        await ledger.DecideAsync(new VolumeCommand.ResizeVolume(8 << 20), new VolumeCommand.ResizeVolume(TestLedger.Size));

        Assert.Equal([(8 << 20, 8 << 20)], await ChangedAsync(ledger, "lsn:1"));
        Assert.Equal(0, (await ledger.Queries.ReplayAsync("v", "now", "b0", null, _none)).Bitmaps[0].Count);
        Assert.Equal(1 << 20, (await ledger.Queries.ReplayAsync("v", "lsn:1", "b0", null, _none)).Bitmaps[0].Count);
    }

    private const string OldSchema =
        """
        update bitmapledger.mt_doc_volumestate set data = (data - 'sizes' - 'backups' - 'checkpoint_count') || jsonb_build_object(
            'checkpoints', '[]'::jsonb, 'bitmaps', (
            select jsonb_agg(jsonb_build_object(
                'name', b -> 'name', 'granularity', b -> 'granularity', 'recording', b -> 'recording', 'persistent', b -> 'persistent'))
            from jsonb_array_elements(data -> 'bitmaps') b));
        drop table bitmapledger.slice_bits;
        truncate bitmapledger.mt_doc_checkpointrow;
        drop table bitmapledger.projection_versions;
        alter table bitmapledger.bitmap_bits drop column successors, drop column version;
        insert into bitmapledger.bitmap_bits select id, 3, data, '{}', '{}' from bitmapledger.mt_doc_volumestate;
        insert into bitmapledger.mt_event_progression (name, last_seq_id) values ('bitmap-bits:All', 3);
        update bitmapledger.schema_version set version = 2;
        """;

    private static VolumeCommand.AddBitmap Add(string name, long granularity) =>
        new(name, granularity, Disabled: false, Persistent: true);

    private static void Write(TestLedger ledger, Random random) => ledger.Write(
        [.. Enumerable.Range(0, 20).Select(_ => (random.NextInt64(TestLedger.Size - 400_000), random.NextInt64(1, 9000)))]);

    private static async Task<long[]> SlicesAsync(TestLedger ledger) =>
        [.. (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Bitmap("b0")!.Slices.Select(s => s.Number)];

    private static async Task<(int, int)[]> ChangedAsync(TestLedger ledger, string from, string? to = null) =>
        [.. (await ledger.Queries.ChangedAsync("v", from, to, null, null, _none)).Extents!.Select(e => ((int)e.Offset, (int)e.Length))];

    /// <summary>Who holds the writes to a byte, oldest first.</summary>
    private static async Task<string[]> HeldAsync(TestLedger ledger, long offset) =>
        [.. (await new Blame(ledger.Points, ledger.Streams, ledger.Index).AskAsync("v", offset, 1, null, null, null, _none))
            .Writes.Reverse().Select(w => string.Join(' ', w.HeldBy))];

    private static async Task ProjectAsync(TestLedger ledger)
    {
        await ledger.Shipper.ShipAllAsync(ledger.VolumeId, _none);
        using var daemon = await ledger.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(TimeSpan.FromMinutes(2));
        await daemon.StopAllAsync();
    }

    private static async Task EqualAsync(TestLedger ledger)
    {
        using var replay = await ledger.Reader.ReplayAsync(
            ledger.VolumeId, new Position(long.MaxValue, long.MaxValue, default), _none);
        Assert.Equal(Digests(replay), await RowsAsync(ledger));
    }

    private static async Task<string[]> RowsAsync(TestLedger ledger)
    {
        using var row = await new BitmapBits(ledger.Source).LoadAsync(ledger.VolumeId, _none);
        return Digests(row);
    }

    private static string[] Digests(Domain.Bitmaps.BitmapReplay replay) =>
    [
        $"event {replay.State.Event}",
        .. replay.State.Bitmaps.Select(b => $"{b.Name} {replay.Bits(b.Name).Sha256()}"),
        .. replay.State.Bitmaps.Where(b => b.Successor is not null).Select(b => $"successor {replay.Bits(b.SuccessorName).Sha256()}"),
        .. replay.State.Bitmaps.SelectMany(b => b.Slices.Select(s => $"slice {b.Name}/{s.Number} {replay.SliceBits(b.Name, s.Number).Sha256()}")),
    ];

    private static async Task ExecuteAsync(TestLedger ledger, string sql)
    {
        await using var command = ledger.Source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
