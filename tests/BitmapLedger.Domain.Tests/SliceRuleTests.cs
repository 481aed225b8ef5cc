using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>Rules 1 to 6 of spec/qmp.md.</summary>
public sealed class SliceRuleTests : IDisposable
{
    private const long Granule = 65536;
    private readonly Script _script = new Script().With("d", 1 << 20);

    public SliceRuleTests() => _script.Do(("d", new VolumeCommand.AddBitmap("b0", null, false, true)));

    [Fact]
    public void Rule_1_numbers_only_grow_gaps_stay_and_a_full_backup_begins_again_at_0()
    {
        Retain(10);
        Assert.Equal([0, 1, 2], Bank(3));
        Delete(1);
        Delete(2);
        Assert.Equal([3], Bank(1));
        Assert.Equal([0, 3], Slices);

        Backup("full", "on-success", succeed: false);
        Assert.Equal([0, 3], Slices);
        Backup("full", "on-success", succeed: true);

        Assert.Contains(new SlicesReset("b0", 4), _script.Happened);
        Assert.Empty(Slices);
        Assert.Equal([0], Bank(1));
    }

    [Fact]
    public void Rule_2_banking_moves_the_bits_and_the_bitmap_is_empty_and_records_as_before()
    {
        Retain(2);
        Write(3);
        Do(new VolumeCommand.BankSlice("b0"));
        Assert.Equal((0, Granule, true), (_script.Count("d", "b0"), _script.Slice("d", "b0", 0).DirtyBytes, B0.Recording));
        Write(4);
        Assert.Equal((Granule, Granule), (_script.Count("d", "b0"), _script.Slice("d", "b0", 0).DirtyBytes));

        Do(new VolumeCommand.DisableBitmap("b0"));
        Do(new VolumeCommand.BankSlice("b0"));
        Write(5);

        Assert.Equal((0, false), (_script.Count("d", "b0"), B0.Recording));
    }

    [Fact]
    public void Rule_3_a_full_retention_fails_unless_it_cycles_and_then_the_oldest_goes_in_the_same_batch()
    {
        Assert.Equal("Bitmap 'b0' already retains 0 slices", Try(new VolumeCommand.BankSlice("b0", ForceCycle: true)));
        Retain(2);
        Bank(2);
        Assert.Equal("Bitmap 'b0' already retains 2 slices", Try(new VolumeCommand.BankSlice("b0")));
        Assert.Equal("Bitmap 'b0' already retains 2 slices", Start("j", "incremental"));
        Assert.Equal([0, 1], Slices);
        Do(new VolumeCommand.BankSlice("b0", ForceCycle: true));
        Assert.Equal([new SliceDropped("b0", 0, 2), new SliceBanked("b0", 2, "manual", 2)], _script.Happened);

        Retain(2, "cycle");
        Do(new VolumeCommand.BankSlice("b0"));
        Assert.Equal([2, 3], Slices);
        Assert.Null(Start("j", "incremental"));
        var started = Assert.IsType<BackupStarted>(Assert.Single(_script.Happened));
        Assert.Equal([new("b0", 4)], started.Banks);
        Assert.Equal([new("b0", 2)], started.Drops);
        Assert.Equal([2, 3], Slices);
        Do(new VolumeCommand.EndBackup("j", new BackupOutcome.Succeeded()));
        Assert.Equal([3, 4], Slices);

        Assert.Equal("Bitmap 'b0' already retains 2 slices", Try(new VolumeCommand.SetRetention("b0", 1, "cycle")));
        Do(new VolumeCommand.SetRetention("b0", 1, "fail", ForceCycle: true));
        Assert.Equal([4], Slices);
    }

    [Fact]
    public void Rule_3_a_policy_that_is_not_named_stays_as_it_was_and_fails_at_first()
    {
        Do(new VolumeCommand.SetRetention("b0", 1));
        Assert.Equal("fail", B0.Overflow);
        Retain(1, "cycle");
        Do(new VolumeCommand.SetRetention("b0", 2));
        Bank(3);

        Assert.Equal(("cycle", 2L), (B0.Overflow, B0.Retention));
        Assert.Equal([1, 2], Slices);
    }

    [Fact]
    public void Rule_3_a_slice_that_a_job_reads_is_never_dropped()
    {
        Retain(1, "cycle");
        Bank(1);
        Assert.Null(Start("taker", "incremental"));

        Assert.Equal(Busy, Start("reader", "partial", 0));
        Assert.Null(Start("other", "differential"));
        Do(new VolumeCommand.EndBackup("other", new BackupOutcome.Succeeded()));
        Do(new VolumeCommand.EndBackup("taker", new BackupOutcome.Cancelled()));
        Assert.Null(Start("reader", "partial", 0));
        Assert.Equal(Busy, Start("taker", "incremental"));
        Assert.Equal(Busy, Try(new VolumeCommand.BankSlice("b0")));
        Assert.Equal(Busy, Try(new VolumeCommand.DeleteSlice("b0", 0)));
        Assert.Equal(Busy, Try(new VolumeCommand.SetRetention("b0", 0, ForceCycle: true)));
        Assert.Equal([0], Slices);
    }

    [Fact]
    public void Rule_4_incremental_banks_differential_and_partial_do_not_and_a_deleted_slice_joins_the_older_one()
    {
        Retain(5);
        Write(1);
        Backup("incremental", null, succeed: true);
        Write(2);
        Backup("incremental", null, succeed: false);
        Assert.Equal([0], Slices);
        Backup("incremental", null, succeed: true);
        Write(3);
        Backup("differential", null, succeed: true);
        Assert.Null(Start("p", "partial", 0));
        Do(new VolumeCommand.EndBackup("p", new BackupOutcome.Succeeded()));
        Assert.Equal([0, 1], Slices);
        Assert.Equal(Granule, _script.Count("d", "b0"));
        Assert.Equal([3 * Granule, 2 * Granule], ((long[])[0, 1]).Select(n => _script.CountFrom("d", "b0", n)));

        Bank(1);
        Delete(1);
        Assert.Equal(4 * Granule, _script.CountFrom("d", "b0", 0));
        Assert.Equal(2 * Granule, _script.Slice("d", "b0", 0).DirtyBytes);
        Delete(0);

        Assert.Equal([2], Slices);
        Assert.Equal(2 * Granule, _script.CountFrom("d", "b0", 2));
        Assert.Equal("Slice 0 of bitmap 'b0' not found", Try(new VolumeCommand.DeleteSlice("b0", 0)));
        Assert.Equal("Slice 9 of bitmap 'b0' not found", Start("p", "partial", 9));
    }

    [Fact]
    public void Rule_4_incremental_without_retention_is_qemus()
    {
        Write(1);

        Backup("incremental", null, succeed: true);

        Assert.Equal((0, 0), (_script.Count("d", "b0"), Slices.Length));
    }

    [Fact]
    public void Rule_5_readers_run_side_by_side_and_a_second_job_that_banks_or_clears_is_refused()
    {
        Retain(3);
        Bank(1);
        Write(1);
        Assert.Null(Start("j1", "differential"));
        Write(2);
        Assert.Null(Start("j2", "partial", 0));
        Assert.Null(Try(new VolumeCommand.StartBackup("j3", "bitmap", ["b0"], "never")));
        foreach (var (sync, mode) in new[] { ("incremental", null), ("bitmap", "on-success"), ("bitmap", "always"), ("full", "on-success") })
            Assert.Equal(Busy, Try(new VolumeCommand.StartBackup("j4", sync, ["b0"], mode)));
        Assert.Equal(Granule, _script.Count("d", "b0"));

        foreach (var job in new[] { "j2", "j1", "j3" })
        {
            Assert.True(B0.Busy);
            Do(new VolumeCommand.EndBackup(job, new BackupOutcome.Succeeded()));
        }

        Assert.False(B0.Busy);
        Assert.Equal(2 * Granule, _script.Count("d", "b0"));
    }

    [Fact]
    public void Rule_5_a_reader_joins_a_job_that_banks_and_outlives_it()
    {
        Retain(3);
        Write(1);
        Assert.Null(Start("banker", "incremental"));
        Write(2);
        Assert.Null(Start("reader", "differential"));
        Do(new VolumeCommand.EndBackup("banker", new BackupOutcome.Succeeded()));
        Write(3);
        Write(4);
        Assert.Equal((Granule, true), (_script.Count("d", "b0"), B0.Busy));
        Assert.True(_script.Slice("d", "b0", 0).IsDirty(1));

        Do(new VolumeCommand.EndBackup("reader", new BackupOutcome.Succeeded()));

        Assert.Equal((3 * Granule, Granule), (_script.Count("d", "b0"), _script.Slice("d", "b0", 0).DirtyBytes));
        Assert.Equal(4 * Granule, _script.CountFrom("d", "b0", 0));
    }

    [Fact]
    public void Rule_6_failure_and_cancel_give_every_bit_back()
    {
        Retain(3);
        Write(1);
        Assert.Null(Start("j", "incremental"));
        Write(2);
        Do(new VolumeCommand.EndBackup("j", new BackupOutcome.Cancelled()));
        Assert.Equal((2 * Granule, 0), (_script.Count("d", "b0"), Slices.Length));

        Assert.Null(Start("j", "incremental"));
        Write(3);
        Do(new VolumeCommand.EndTransientBitmaps(Guid.NewGuid(), JobsToo: true));

        Assert.Equal((3 * Granule, 0, false), (_script.Count("d", "b0"), Slices.Length, B0.Busy));
    }

    [Fact]
    public void A_slice_begins_where_the_one_before_was_banked_and_a_backup_banks_up_to_its_start()
    {
        Retain(3);
        var added = B0.Since;
        Bank(1);
        Write(1);
        Assert.Null(Start("j", "incremental"));
        var started = _script["d"].Event;
        Write(2);
        Do(new VolumeCommand.EndBackup("j", new BackupOutcome.Succeeded()));

        Assert.Equal(added, B0.Slice(0)!.From);
        Assert.Equal(B0.Slice(0)!.To, B0.Slice(1)!.From);
        Assert.Equal((started, 2), (B0.Slice(1)!.To.Event, B0.Slice(1)!.To.Lsn));
        Assert.Equal(started, B0.Since.Event);
    }

    public void Dispose() => _script.Dispose();

    private const string Busy = "Bitmap 'b0' is currently in use by another operation and cannot be used";

    private BitmapState B0 => _script["d"].Bitmap("b0")!;

    private long[] Slices => [.. B0.Slices.Select(s => s.Number)];

    private void Do(VolumeCommand command) => _script.Do(("d", command));

    private string? Try(VolumeCommand command) => _script.Try(("d", command))?.Message;

    private string? Start(string job, string sync, long? slice = null) =>
        Try(new VolumeCommand.StartBackup(job, sync, ["b0"], Slice: slice));

    private void Retain(long slices, string overflow = "fail") => Do(new VolumeCommand.SetRetention("b0", slices, overflow));

    private void Delete(long slice) => Do(new VolumeCommand.DeleteSlice("b0", slice));

    private void Write(long block) => _script.Write("d", (block * Granule, 512));

    /// <summary>Banks with a write before each, and says which numbers they got.</summary>
    private long[] Bank(int times) =>
    [
        .. Enumerable.Range(0, times).Select(_ =>
        {
            Write(15);
            Do(new VolumeCommand.BankSlice("b0"));
            return _script.Happened.OfType<SliceBanked>().Single().Slice;
        }),
    ];

    private void Backup(string sync, string? mode, bool succeed)
    {
        Do(new VolumeCommand.StartBackup("backup", sync, ["b0"], mode));
        Do(new VolumeCommand.EndBackup("backup", succeed ? new BackupOutcome.Succeeded() : new BackupOutcome.Failed("a test")));
    }
}
