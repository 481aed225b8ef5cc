using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Disks that fill or fail under the journal and under the data: a write that cannot be recorded does not
/// happen, and whatever can go on goes on.</summary>
public sealed class DiskFaultTests
{
    private const int Block = 65536;

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_full_disk_under_the_journal_refuses_writes_untouched_and_takes_them_again_when_there_is_room()
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = new LoopDisk(
            ledger.Scratch("journal.img"), Path.Combine(ledger.DataDirectory, "journal"), megabytes: 64);
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Kill("serve", "server");
        var agent = ledger.Pid("agent");
        disk.Fill();

        // The segments that are there are used up, and no other can be made.
        LoadUntilRefused(ledger);
        NbdShell.Run(ledger.Export("v"), """
            before = h.pread(512, 0)
            for attempt in range(8):
                try:
                    h.pwrite(b'\xee' * 512, 0)
                    raise SystemExit('a write that cannot be recorded was taken')
                except nbd.Error as error:
                    # What QEMU pauses a guest for, with werror=enospc; an error of the disk would reach the guest.
                    assert 'No space left' in str(error), str(error)
            assert h.pread(512, 0) == before
            """);

        disk.MakeRoom();
        NbdShell.Write(ledger.Export("v"), [(5 * Block, 512)]);
        Assert.Equal(agent, ledger.Pid("agent"));
        await ledger.ServeAsync();
        Assert.Contains((0L, 64L << 20), Extents.Of(ledger.Json("changed", "v", "--from", "start")));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_journal_that_can_only_be_read_any_more_ends_writes_and_no_reads_and_no_process()
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = new LoopDisk(
            ledger.Scratch("journal.img"), Path.Combine(ledger.DataDirectory, "journal"), megabytes: 64);
        ledger.Json("volume", "create", "v", "--size", "64M");
        NbdShell.Write(ledger.Export("v"), [(0, 512), (Block, 512)]);
        ledger.Json("checkpoint", "create", "v", "before");
        var pids = Pids(ledger);

        disk.Fail();

        NbdShell.Run(ledger.Export("v"), $"""
            for block in range(4):
                try:
                    h.pwrite(b'\xee' * 512, block * {Block})
                    raise SystemExit('a write that cannot be recorded was taken')
                except nbd.Error as error:
                    pass
            assert h.pread(512, 0) == b'\x01' * 512
            assert h.pread(512, {Block}) == b'\x02' * 512
            assert h.pread(512, {2 * Block}) == bytes(512)
            """);
        Assert.Equal(pids, Pids(ledger));
        Assert.Equal(
            [(0, 2L * Block)],
            Extents.Of(ledger.Json("changed", "v", "--from", "start", "--to", "checkpoint:before")));
    }

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_full_disk_under_the_data_fails_the_write_that_needs_room_and_keeps_its_mark()
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = new LoopDisk(ledger.Scratch("data.img"), ledger.Scratch("data"), megabytes: 32);
        ledger.Json("volume", "create", "v", "--size", "64M", "--file", disk["v.img"]);
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(ledger.Export("v"), [(0, Block)]);
        disk.Fill();

        NbdShell.Run(ledger.Export("v"), $"""
            try:
                h.pwrite(b'\xee' * {Block}, {20 * Block})
                raise SystemExit('a write without room was taken')
            except nbd.Error as error:
                assert 'No space left' in str(error), str(error)
            h.pwrite(b'\x07' * {Block}, 0)
            """);
        disk.MakeRoom();
        NbdShell.Run(ledger.Export("v"), $"h.pwrite(b'\\x08' * {Block}, {40 * Block}); h.flush()");

        // As in QEMU, what the backend refused stays marked: too much, never too little.
        Assert.Equal(
            [(0, Block), (20 * Block, Block), (40 * Block, Block)],
            Extents.Of(ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0]));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task Data_that_can_only_be_read_any_more_ends_writes_and_flushes_of_that_volume_alone()
    {
        await using var ledger = await Ledger.StartAsync();
        using var disk = new LoopDisk(ledger.Scratch("data.img"), ledger.Scratch("data"), megabytes: 32);
        ledger.Json("volume", "create", "v", "--size", "16M", "--file", disk["v.img"]);
        ledger.Json("volume", "create", "w", "--size", "16M");
        NbdShell.Run(ledger.Export("v"), "h.pwrite(b'\\x01' * 512, 0); h.flush()");
        var pids = Pids(ledger);

        disk.Fail();

        NbdShell.Run(ledger.Export("v"), $"""
            try:
                h.pwrite(b'\xee' * 512, {Block})
                raise SystemExit('a write to a failed disk was taken')
            except nbd.Error as error:
                pass
            assert h.pread(512, 0) == b'\x01' * 512
            """);
        NbdShell.Run(ledger.Export("w"), "h.pwrite(b'\\x01' * 512, 0); h.flush()");
        Assert.Equal(pids, Pids(ledger));
        Assert.Equal(JsonValueKind.True, ledger.Json("verify", "v").GetProperty("equal").ValueKind);
    }

    [Fact]
    public async Task A_volume_whose_image_somebody_else_had_open_at_the_start_is_served_when_he_has_closed_it()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(ledger.Export("v"), [(0, 512)]);
        await ledger.StopAsync();
        using var other = Tool.Start(
            "stdbuf", ["-oL", "qemu-io", "-f", "raw", Path.Combine(ledger.DataDirectory, "volumes", "v.img")], withInput: true);
        await other.StandardInput.WriteLineAsync("length");
        await other.StandardInput.FlushAsync();
        Assert.Contains("64 MiB", await other.StandardOutput.ReadLineAsync(), StringComparison.Ordinal);

        await ledger.ServeAsync();
        Assert.Equal("away", ledger.Json("volume", "show", "v").GetProperty("state").GetString());
        other.StandardInput.Close();

        await Waiting.UntilAsync(() => ledger.Json("volume", "show", "v").GetProperty("state").GetString() == "serving");
        await ledger.AnswersAsync("checkpoint", "create", "v", "again");
        NbdShell.Write(ledger.Export("v"), [(Block, 512)]);
        Assert.Equal([(0, 2 * Block)], Extents.Of(ledger.Json("changed", "v", "--from", "start")));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // Method: everything lies on the disk that fills, so that not even pid files can be written; all programs are killed then.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_full_disk_under_everything_ends_no_supervision_and_all_is_there_again_when_there_is_room()
    {
        using var scratch = new ScratchDirectory();
        using var disk = new LoopDisk(scratch["all.img"], scratch["m"], megabytes: 512);
        await using var ledger = await Ledger.StartAtAsync(disk["d"]);
        ledger.Json("volume", "create", "v", "--size", "16M");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Run(ledger.Export("v"), "h.pwrite(b'\\x01' * 512, 0); h.flush()");
        var serve = ledger.ServePid;
        disk.Fill();

        ledger.Kill("server", "agent", "postgres");
        await Waiting.UntilAsync(() => ledger.Bml("volume", "list").ExitCode != 0);
        disk.MakeRoom();

        await Waiting.UntilAsync(() => ledger.Bml("checkpoint", "create", "v", "again").ExitCode == 0);
        Assert.Equal(serve, ledger.ServePid);
        Assert.True(Posix.IsAlive(serve));
        NbdShell.Write(ledger.Export("v"), [(Block, 512)]);
        Assert.Equal([(0, 2 * Block)], Extents.Of(ledger.Json("changed", "v", "--from", "start")));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    private static (int Agent, int Server) Pids(Ledger ledger) => (ledger.Pid("agent"), ledger.Pid("server"));

    /// <summary>Random writes until the first one that fails: more than two segments hold.</summary>
    private static void LoadUntilRefused(Ledger ledger) => Tool.Run(
        "fio", "--name=load", "--ioengine=nbd", $"--uri={ledger.Export("v")}", "--rw=randwrite", "--bs=4k",
        "--iodepth=32", "--size=64M", "--norandommap", "--io_size=16g", "--number_ios=1500000").Expect(1);
}
