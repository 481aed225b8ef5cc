using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A disk that answers with EIO, under the journal, the data and PostgreSQL, while clients write: what cannot be
/// recorded is refused, and when the disk is well nothing acknowledged is missing.</summary>
public sealed class DiskErrorTests
{
    private const int Block = 4096;
    private const long Size = 64 << 20;

    // Method: one file system turns read-only at the first error of its own journal, the other has none and goes on. Both are
    // unmounted and checked while nobody uses them, as an administrator would.
    [Theory(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Errors_of_the_disk_under_the_journal_refuse_writes_and_leave_nothing_untracked(bool isJournaled)
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = await UnreliableDisk.CreateAsync(256, Path.Combine(ledger.DataDirectory, "journal"), isJournaled);
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new TortureClient(ledger.Export("v"), 0);
        await client.MoreAsync(300);
        var agent = ledger.Pid("agent");

        disk.Faults = DeviceFaults.Writes | DeviceFaults.Flushes;
        await Waiting.UntilAsync(() => client.Errors > 0);
        AssertRefusedUntouched(ledger);
        Assert.Equal(agent, ledger.Pid("agent"));

        disk.Faults = DeviceFaults.None;
        await ledger.StopAsync();
        await disk.RepairAsync();
        await ledger.ServeAsync();
        await client.MoreAsync(200);
        await AssertCoveredAsync(ledger, client);
    }

    // Method: the same disk comes back under a running agent, which is only killed: what it had in memory and the disk has
    // refused must not count as written.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task After_errors_under_the_journal_an_agent_that_is_started_again_goes_on()
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = await UnreliableDisk.CreateAsync(256, Path.Combine(ledger.DataDirectory, "journal"), isJournaled: false);
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new TortureClient(ledger.Export("v"), 0);
        await client.MoreAsync(300);

        disk.Faults = DeviceFaults.Writes | DeviceFaults.Flushes;
        await Waiting.UntilAsync(() => client.Errors > 0);
        disk.Faults = DeviceFaults.None;
        ledger.Kill("agent");
        await ledger.AnswersAsync("verify", "v");
        await client.MoreAsync(200);
        await AssertCoveredAsync(ledger, client);
    }

    // Method: the data is copied at a checkpoint; then the disk refuses what clients have written, and shows what it has.
    [Theory(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    [InlineData(true, true)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task Errors_of_the_disk_under_the_data_fail_every_flush_and_what_went_back_is_reported(
        bool isJournaled, bool isUnmounted)
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = await UnreliableDisk.CreateAsync(256, Path.Combine(ledger.DataDirectory, "volumes"), isJournaled);
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Run(ledger.Export("v"), $"h.pwrite(b'\\xff' * {16 << 20}, 0); h.flush()");
        using (var client = new FlushingClient(ledger.Export("v"), 0, (16 << 20) / Block, after: 0, seed: 5))
        {
            await client.MoreAsync(200);
            await client.PauseAsync();
            ledger.Json("checkpoint", "create", "v", "c");
            Tool.Run("cp", "--sparse=always", disk["v.img"], ledger.Scratch("c")).Expect();
            await client.GoOnAsync();
            await client.MoreAsync(100);
            disk.Faults = DeviceFaults.Writes | DeviceFaults.Flushes;
            await client.EndedAsync();
        }

        NbdShell.Run(ledger.Export("v"), """
            for attempt in range(2):
                try:
                    h.flush()
                    raise SystemExit('a flush succeeded after one had failed')
                except nbd.Error as error:
                    assert 'Input/output' in str(error), str(error)
            """);
        Assert.Contains("may revert", ledger.Bml("checkpoint", "create", "v", "refused").Expect(1).Error, StringComparison.Ordinal);
        disk.Faults = DeviceFaults.None;
        if (isUnmounted)
        {
            await ledger.StopAsync();
            await disk.RepairAsync();
            await ledger.ServeAsync();
        }
        else
        {
            ledger.Kill("agent");
            await ledger.AnswersAsync("checkpoint", "create", "v", "again");
            UnreliableDisk.WriteOut(disk["v.img"]);
        }

        var differing = DataCompare.Differing(ledger.Scratch("c"), disk["v.img"], Block);
        var changed = ledger.Json("changed", "v", "--from", "checkpoint:c", "--granularity", $"{Block}");
        Assert.False(changed.GetProperty("exact").GetBoolean());
        Assert.Empty(DataCompare.NotIn(Extents.Of(changed), differing, Block));
        NbdShell.Run(ledger.Export("v"), "h.pwrite(b'\\x01' * 4096, 0); h.flush()");
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // The file system has a journal of its own: what PostgreSQL finds on one that the errors have torn is not ours to answer for.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task Errors_of_the_disk_under_postgres_are_an_outage_that_costs_no_write()
    {
        using var disk = await UnreliableDisk.CreateAsync(512, mountPoint: null, isJournaled: true);
        await using var cluster = await SeparateCluster.StartAsync(disk["pg"]);
        await using var ledger = await Ledgers.OnAsync(cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new AcknowledgedWrites(ledger.Export("v"), 0);
        await client.UntilAsync(100);

        disk.Faults = DeviceFaults.All;
        var answer = await Ledgers.BusyAsync(ledger, name => ["checkpoint", "create", "v", name]);
        Assert.Contains("PostgreSQL", answer.Error, StringComparison.Ordinal);
        await client.UntilAsync(client.Sectors.Count + 500);

        disk.Faults = DeviceFaults.None;
        await cluster.KillAsync();
        await disk.RepairAsync();
        await cluster.StartAsync();
        await ledger.AnswersAsync("checkpoint", "create", "v", "after");
        await Ledgers.AssertWholeAsync(ledger, client);
    }

    // Method: a page in the middle of the oldest segment, some sixty records of writes that nobody has shipped.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_place_of_the_journal_that_cannot_be_read_is_named_and_refused_and_repair_records_all_but_its_writes()
    {
        const int writes = 200, page = 4096, recordsOfPage = page / 64;
        await using var ledger = await Ledger.StartAsync();
        using var disk = await UnreliableDisk.CreateAsync(256, Path.Combine(ledger.DataDirectory, "journal"), isJournaled: false);
        var segment = WriteUnshipped(ledger, writes);
        disk.MakeUnreadable(segment, offset: page, length: page);

        await ledger.ServeAsync();
        ledger.Json("checkpoint", "create", "w", "c");
        Assert.Equal("damaged", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        var refused = ledger.Bml("checkpoint", "create", "v", "c").Expect(12).Error;
        Assert.Contains($"{segment} is damaged at byte {page}: the disk cannot read it", refused, StringComparison.Ordinal);
        Assert.Contains("bml repair v", refused, StringComparison.Ordinal);
        Assert.Contains($"{segment} is damaged at byte {page}", ledger.Bml("check").Expect(2).Output, StringComparison.Ordinal);
        NbdShell.Run(ledger.Export("w"), "h.pwrite(b'\x01' * 512, 0); h.flush()");
        Assert.True(ledger.Json("verify", "w").GetProperty("equal").GetBoolean());

        var repaired = ledger.Json("repair", "v");

        var gap = Assert.Single(repaired.GetProperty("damage").EnumerateArray());
        Assert.Equal((segment, page), (gap.GetProperty("file").GetString(), gap.GetProperty("byte").GetInt32()));
        var (from, to) = (gap.GetProperty("from_lsn").GetInt32(), gap.GetProperty("to_lsn").GetInt32());
        Assert.InRange(to - from, 1, recordsOfPage);
        Assert.Equal(Enumerable.Range(1, writes).Where(lsn => lsn <= from || lsn > to), Recorded(ledger));
        var changed = ledger.Json("changed", "v", "--from", "start");
        Assert.False(changed.GetProperty("exact").GetBoolean());
        Assert.Equal([(0, Size)], Extents.Of(changed));
        NbdShell.Run(ledger.Export("v"), "h.pwrite(b'\x01' * 512, 0); h.flush()");
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // Method: as above, but the disk reads nothing at all for a while.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_disk_that_reads_nothing_is_not_taken_for_a_damaged_journal_and_costs_no_record()
    {
        const int writes = 200;
        await using var ledger = await Ledger.StartAsync();
        using var disk = await UnreliableDisk.CreateAsync(256, Path.Combine(ledger.DataDirectory, "journal"), isJournaled: false);
        var segment = WriteUnshipped(ledger, writes);
        disk.ForgetMemory(segment);
        disk.Faults = DeviceFaults.Reads;

        await ledger.ServeAsync();
        Assert.Equal("away", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        Assert.Contains(segment, ledger.Bml("repair", "v").Expect(1).Error, StringComparison.Ordinal);
        ledger.Bml("check").Expect(2);
        disk.Faults = DeviceFaults.None;

        await Waiting.UntilAsync(() => ledger.Json("volume", "show", "v").GetProperty("state").GetString() == "serving");
        Assert.Equal(Enumerable.Range(1, writes), Recorded(ledger));
        Assert.True(ledger.Json("changed", "v", "--from", "start").GetProperty("exact").GetBoolean());
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // Method: the file system under the journal fails as after an error of the disk, once so that what it has in memory can
    // still be written below, once so that nothing can; it is unmounted and checked while nobody uses it.
    [Theory(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    [InlineData(FailedFileSystem.ReadOnly)]
    [InlineData(FailedFileSystem.ShutDown)]
    public async Task A_file_system_under_the_journal_that_ends_under_load_refuses_writes_and_leaves_nothing_untracked(FailedFileSystem how)
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = new LoopDisk(ledger.Scratch("journal.img"), Path.Combine(ledger.DataDirectory, "journal"), megabytes: 256);
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new TortureClient(ledger.Export("v"), 0);
        await client.MoreAsync(300);
        var agent = ledger.Pid("agent");

        disk.Fail(how);
        await Waiting.UntilAsync(() => client.Errors > 0);
        AssertRefusedUntouched(ledger);
        Assert.Equal(agent, ledger.Pid("agent"));

        await ledger.StopAsync();
        disk.Repair();
        await ledger.ServeAsync();
        await client.MoreAsync(200);
        await AssertCoveredAsync(ledger, client);
    }

    /// <summary>Volumes v and w, and writes to v that nobody has shipped.</summary>
    /// <returns>The oldest segment of v.</returns>
    private static string WriteUnshipped(Ledger ledger, int writes)
    {
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("volume", "create", "w", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Kill("serve", "server");
        NbdShell.Write(ledger.Export("v"), Enumerable.Range(1, writes).Select(i => ((long)i * Block, 512L)));
        ledger.Kill("agent");
        return Directory.GetFiles(JournalFiles.Of(ledger, "v"), "*.seg").Order(StringComparer.Ordinal).First();
    }

    /// <summary>LSNs of the writes that the ledger has, each as it was sent.</summary>
    private static List<int> Recorded(Ledger ledger)
    {
        var writes = ledger.Json("blame", "v", "--offset", "0", "--length", $"{Size}", "--limit", "1000000").GetProperty("writes");
        List<(int Lsn, long Offset)> recorded =
            [.. writes.EnumerateArray().Select(w => (w.GetProperty("lsn").GetInt32(), w.GetProperty("offset").GetInt64())).Order()];
        Assert.All(recorded, w => Assert.Equal((long)w.Lsn * Block, w.Offset));
        return [.. recorded.Select(w => w.Lsn)];
    }

    private static void AssertRefusedUntouched(Ledger ledger) => NbdShell.Run(ledger.Export("v"), $$"""
        place = {{Size - (1 << 20)}}
        before = h.pread(65536, place)
        for sector in range(64):
            try:
                h.pwrite(b'\xee' * 512, place + sector * 512)
                raise SystemExit('a write that cannot be recorded was taken')
            except nbd.Error as error:
                assert 'Input/output' in str(error), str(error)
        assert h.pread(65536, place) == before
        """);

    /// <summary>What was acknowledged is reported, and whatever else is on the disk too; nothing is recorded twice, nothing
    /// is that was not sent.</summary>
    private static async Task AssertCoveredAsync(Ledger ledger, TortureClient client)
    {
        var (acknowledged, unanswered) = await client.PauseAsync();
        await ledger.AnswersAsync("verify", "v");
        var changed = Extents.Of(ledger.Json("changed", "v", "--from", "start", "--granularity", "512"));
        Assert.Empty(DataCompare.NotIn(changed, [.. acknowledged.Select(s => s * TortureClient.Sector)], TortureClient.Sector));
        var empty = ledger.Scratch("empty");
        Tool.Run("truncate", "-s", $"{Size}", empty).Expect();
        var image = Path.Combine(ledger.DataDirectory, "volumes", "v.img");
        Assert.Empty(DataCompare.NotIn(changed, DataCompare.Differing(empty, image, TortureClient.Sector), TortureClient.Sector));

        var blame = ledger.Json("blame", "v", "--offset", "0", "--length", $"{Size}", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        var recorded = blame.GetProperty("writes").EnumerateArray()
            .Select(w => w.GetProperty("offset").GetInt64() / TortureClient.Sector).ToList();
        Assert.Equal(recorded.Count, recorded.Distinct().Count());
        Assert.Empty(recorded.Where(s => s < (Size - (1 << 20)) / TortureClient.Sector).Except(acknowledged).Except(unanswered));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }
}
