using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Tests;

/// <summary>QEMU's own tests of bitmaps (tests/qemu-iotests), as algebra: the numbers and digests are QEMU's.</summary>
public sealed class QemuVectorTests
{
    private const long Granule = 65536;
    private const long MiB = 1 << 20;

    private static readonly (long, long)[] _g1 = [(0, Granule), (0xf8000, Granule), (0x2008000, Granule), (0x3fe0000, Granule)];
    private static readonly (long, long)[] _g2 = [(0x10000, Granule), (0xe8000, Granule), (0x2018000, Granule), (0x3fe0000, 2 * Granule)];
    private static readonly (long, long)[] _g3 = [(0x10000, 3 * Granule), (0xd8000, Granule), (0x2028000, Granule), (0x3fc0000, Granule)];

    [Fact]
    public void Iotest_236_merges_and_aborts_as_qemu_does()
    {
        using var script = new Script().With("d", 64 * MiB);
        script.Do(("d", Add("bitmapA")), ("d", Add("bitmapB")));
        script.Write("d", (0, Granule), (1 * MiB, Granule), (32 * MiB, Granule), (0x3ff0000, Granule));
        var first = "3b7b88c192165a0a4640a3c1ef9226de9a5eb4530922c421157fb01ea35cb70a";
        Assert.Equal((262144, first), (script.Count("d", "bitmapA"), script.Bits("d", "bitmapB").Sha256()));

        var aborted = script.Try(
            ("d", new VolumeCommand.DisableBitmap("bitmapB")), ("d", Add("bitmapC")), ("d", new VolumeCommand.ClearBitmap("bitmapA")),
            ("", new VolumeCommand.Abort()));
        Assert.Equal("Transaction aborted using Abort action", aborted!.Message);
        Assert.Equal(["bitmapB", "bitmapA"], script["d"].Bitmaps.Select(b => b.Name));
        Assert.All(script["d"].Bitmaps, b => Assert.True(b.Recording));

        script.Do(
            ("d", new VolumeCommand.DisableBitmap("bitmapB")), ("d", Add("bitmapC")), ("d", new VolumeCommand.DisableBitmap("bitmapC")),
            ("d", new VolumeCommand.EnableBitmap("bitmapC")));
        script.Write("d", (0, Granule), (0xf8000, Granule), (0x2008000, Granule), (0x3fe0000, Granule));
        script.Do(("d", new VolumeCommand.DisableBitmap("bitmapA")), ("d", new VolumeCommand.DisableBitmap("bitmapC")));
        Assert.Equal(
            [("bitmapC", 393216), ("bitmapB", 262144), ("bitmapA", 458752)],
            script["d"].Bitmaps.Select(b => (b.Name, script.Count("d", b.Name))));
        Assert.Equal("0fe44ee8099aee1ec60ac068ecd0b1f16452fd202ae8c9d96cf640ca6ce1b918", script.Bits("d", "bitmapC").Sha256());

        (string, VolumeCommand)[] merge = [("d", Add("bitmapD", disabled: true)), ("d", Merge("bitmapD", "bitmapB", "bitmapC"))];
        Assert.NotNull(script.Try([.. merge, ("", new VolumeCommand.Abort())]));
        Assert.Null(script["d"].Bitmap("bitmapD"));
        script.Do(merge);
        var both = "7abe3d7e3c794cfaf9b08bc9ce599192c96a2206f07b42d9997ff78fdd7af744";
        Assert.Equal((458752, both), (script.Count("d", "bitmapD"), script.Bits("d", "bitmapD").Sha256()));
        Assert.Equal(both, script.Bits("d", "bitmapA").Sha256());
        script.Do([.. "ABCD".Select(c => ("d", (VolumeCommand)new VolumeCommand.RemoveBitmap($"bitmap{c}")))]);
        Assert.Empty(script["d"].Bitmaps);
    }

    [Fact]
    public void Iotest_246_bitmaps_grow_and_shrink_with_their_volume()
    {
        const long gib = 1L << 30;
        using var script = new Script().With("d", 64 * gib);
        script.Do(("d", Add("Small", 32768)), ("d", Add("Medium")), ("d", Add("Large", 131072)), ("d", Add("Transient", persistent: false)));
        Assert.Equal(["Transient", "Large", "Medium", "Small"], script["d"].Bitmaps.Select(b => b.Name));
        script.Do(("d", new VolumeCommand.EndTransientBitmaps(Guid.NewGuid(), JobsToo: true)));
        script.Do(("d", Add("New")), ("d", new VolumeCommand.ResizeVolume(70 * gib)), ("d", Add("Newtwo")));
        Assert.Equal(["Newtwo", "New", "Large", "Medium", "Small"], script["d"].Bitmaps.Select(b => b.Name));
        Assert.All(script["d"].Bitmaps, b => Assert.Equal(0, script.Count("d", b.Name)));

        script.Write("d", (69 * gib, 512), (10, 1));
        Assert.Equal([262144, 131072, 65536], ((string[])["Large", "Medium", "Small"]).Select(n => script.Count("d", n)));
        script.Do(
            ("d", Add("NewB")), ("d", new VolumeCommand.RemoveBitmap("New")), ("d", new VolumeCommand.ResizeVolume(50 * gib)),
            ("d", Add("NewC")), ("d", new VolumeCommand.RemoveBitmap("Newtwo")));
        Assert.Equal(["NewC", "NewB", "Large", "Medium", "Small"], script["d"].Bitmaps.Select(b => b.Name));
        script.Do(("d", new VolumeCommand.ResizeVolume(70 * gib)));
        Assert.Equal([131072, 65536, 32768], ((string[])["Large", "Medium", "Small"]).Select(n => script.Count("d", n)));
        Assert.All(script["d"].Bitmaps, b => Assert.True(b is { Recording: true, Persistent: true }));
    }

    [Fact]
    public void The_granule_with_the_new_end_keeps_its_bit_and_growing_brings_none_back()
    {
        using var script = new Script().With("d", 1 * MiB);
        script.Do(("d", Add("b")), ("d", Add("other")), ("d", new VolumeCommand.SetRetention("b", 3)));
        script.Write("d", (0x88000, 512), (0x90000, 512), (0xf0000, 512));
        script.Do(("d", new VolumeCommand.BankSlice("b")), ("d", Merge("b", "other")));

        script.Do(("d", new VolumeCommand.ResizeVolume(0x81000)), ("d", new VolumeCommand.ResizeVolume(2 * MiB)));

        foreach (var bits in new[] { script.Bits("d", "b"), script.Bits("d", "other"), script.Slice("d", "b", 0) })
            Assert.Equal((65536, true, 2 * MiB), (bits.DirtyBytes, bits.IsDirty(8), bits.VolumeBytes));
        Assert.Equal(65536, script.CountFrom("d", "b", 0));
    }

    [Fact]
    public void Iotest_223_bitmaps_of_two_granularities_see_what_came_after_them()
    {
        using var script = new Script().With("d", 4 * MiB);
        script.Write("d", (1 * MiB, 2 * MiB));
        script.Do(("d", Add("b")), ("d", Add("b2", 512)));
        script.Write("d", (512, 512), (2 * MiB, 2 * MiB));
        script.Do(("d", new VolumeCommand.DisableBitmap("b")));

        Assert.Equal((33, 4097), (script.Bits("d", "b").CountDirty(), script.Bits("d", "b2").CountDirty()));
        Assert.Equal("b15348c8f462384c01e83b6d499c6faf3f96808f5aa07c6bab4b65b36b4445d4", script.Bits("d", "b").Sha256());
        Assert.Equal([new(0, Granule), new(2 * MiB, 2 * MiB)], script.Bits("d", "b").Extents());
        Assert.Equal([new(512, 512), new(2 * MiB, 2 * MiB)], script.Bits("d", "b2").Extents());
    }

    [Fact]
    public void Iotest_304_a_tail_of_one_byte_is_a_granule()
    {
        using var script = new Script().With("d", 4097);
        script.Do(("d", Add("b", 4096)));

        script.Write("d", (0, 4096), (4096, 1));

        Assert.Equal((2, 2, 8192), (
            script.Bits("d", "b").BlockCount, script.Bits("d", "b").CountDirty(), script.Count("d", "b")));
    }

    [Fact]
    public void Iotest_254_bitmaps_are_copied_and_moved_to_another_volume_in_one_transaction()
    {
        using var script = new Script().With("base", 1 * MiB).With("snap", 1 * MiB);
        script.Do(("base", Add("bitmap0", persistent: false)), ("base", Add("bitmap1")), ("base", Add("bitmap2")));
        script.Write("base", (0, 512 << 10));
        List<(string, VolumeCommand)> actions = [];
        for (var i = 0; i < 3; i++)
        {
            actions.Add(("snap", Add($"bitmap{i}", persistent: i > 0)));
            actions.Add(("snap", new VolumeCommand.MergeBitmap($"bitmap{i}", [new($"bitmap{i}", script.Id("base"))])));
        }

        script.Do([.. actions, ("base", new VolumeCommand.RemoveBitmap("bitmap2"))]);

        Assert.Equal(
            [("bitmap2", true, 524288), ("bitmap1", true, 524288), ("bitmap0", false, 524288)],
            script["snap"].Bitmaps.Select(b => (b.Name, b.Persistent, script.Count("snap", b.Name))));
        Assert.All(script["snap"].Bitmaps, b => Assert.Equal(
            "159754eeb1b8e153388279fd7cdf7c3224b6052d1b93d07e03beb4375a3a59f7", script.Bits("snap", b.Name).Sha256()));
        Assert.Equal(["bitmap1", "bitmap0"], script["base"].Bitmaps.Select(b => b.Name));
    }

    [Fact]
    public void Iotest_260_what_was_written_in_an_overlay_is_seen_when_it_is_committed()
    {
        using var script = new Script().With("base", 192 << 10).With("top", 192 << 10);
        script.Do(("base", Add("bitmap0")));
        script.Write("base", (0, Granule));
        script.Do(("top", Add("overlay")));
        script.Write("top", (Granule, 512));
        Assert.Equal(1, script.Bits("base", "bitmap0").CountDirty());

        script.Do(("base", new VolumeCommand.MergeBitmap("bitmap0", [new("overlay", script.Id("top"))])));
        Assert.Equal(2, script.Bits("base", "bitmap0").CountDirty());
        script.Write("base", (2 * Granule, Granule));

        Assert.Equal(3, script.Bits("base", "bitmap0").CountDirty());
    }

    // Granules of bitmap0 after backup 1, after group 3, after backup 2, which is sync=bitmap of the same mode.
    [Theory]
    [InlineData("bitmap", "never", "success", 10, 15, 15)]
    [InlineData("bitmap", "never", "cancel", 10, 15, 15)]
    [InlineData("bitmap", "never", "error", 6, 14, 14)]
    [InlineData("bitmap", "on-success", "success", 7, 12, 0)]
    [InlineData("bitmap", "on-success", "cancel", 10, 15, 0)]
    [InlineData("bitmap", "on-success", "error", 6, 14, 0)]
    [InlineData("bitmap", "always", "success", 7, 12, 0)]
    [InlineData("bitmap", "always", "cancel", 7, 12, 0)]
    [InlineData("bitmap", "always", "error", 5, 13, 0)]
    [InlineData("full", "on-success", "success", 7, 12, 0)]
    [InlineData("full", "on-success", "cancel", 10, 15, 0)]
    [InlineData("full", "on-success", "error", 6, 14, 0)]
    [InlineData("full", "always", "success", 7, 12, 0)]
    [InlineData("full", "always", "cancel", 7, 12, 0)]
    [InlineData("full", "always", "error", 1009, 1014, 0)]
    [InlineData("top", "on-success", "success", 7, 12, 0)]
    [InlineData("top", "on-success", "cancel", 10, 15, 0)]
    [InlineData("top", "on-success", "error", 6, 14, 0)]
    [InlineData("top", "always", "success", 7, 12, 0)]
    [InlineData("top", "always", "cancel", 7, 12, 0)]
    [InlineData("top", "always", "error", 6, 14, 0)]
    public void Iotest_257_the_bitmap_after_a_backup_is_what_its_mode_says(
        string sync, string mode, string end, long first, long then, long last)
    {
        using var script = new Script().With("d", 64 * MiB);
        script.Do(("d", Add("bitmap0")));
        script.Write("d", _g1);
        script.Do(("d", new VolumeCommand.StartBackup("j", sync, ["bitmap0"], mode)));
        if (end != "error")
        {
            script.Write("d", _g2);
            Assert.Equal((6, 7), (
                script.Bits("d", "bitmap0").CountDirty(), script.Bits("d", script["d"].Bitmap("bitmap0")!.SuccessorName).CountDirty()));
        }

        script.Do(("d", new VolumeCommand.EndBackup("j", Outcome(script, sync, end))));
        Assert.Equal(first, script.Bits("d", "bitmap0").CountDirty());
        script.Write("d", _g3);
        Assert.Equal(then, script.Bits("d", "bitmap0").CountDirty());
        script.Do(
            ("d", new VolumeCommand.StartBackup("j", "bitmap", ["bitmap0"], mode)),
            ("d", new VolumeCommand.EndBackup("j", new BackupOutcome.Succeeded())));
        Assert.Equal(last, script.Bits("d", "bitmap0").CountDirty());
    }

    /// <summary>Cancelled when all was copied; or failed: a copy of the dirty granules behind the first one, a full copy behind
    /// 15, one of the top layer before the first.</summary>
    private static BackupOutcome Outcome(Script script, string sync, string end) => (end, sync) switch
    {
        ("success", _) => new BackupOutcome.Succeeded(),
        ("cancel", _) => new BackupOutcome.Cancelled(script.Rest("d", Granule)),
        (_, "bitmap") => new BackupOutcome.Failed("Input/output error", script.Rest("d", Granule, 0xf, 0x10, 0x200, 0x201, 0x3fe)),
        (_, "full") => new BackupOutcome.Failed(
            "Input/output error", script.Rest("d", Granule, [.. Enumerable.Range(15, 1009).Select(i => (long)i)])),
        _ => new BackupOutcome.Failed("Input/output error", script.Rest("d", Granule, 0, 0xf, 0x10, 0x200, 0x201, 0x3fe)),
    };

    private static VolumeCommand.AddBitmap Add(string name, long? granularity = null, bool disabled = false, bool persistent = true) =>
        new(name, granularity, disabled, persistent);

    private static VolumeCommand.MergeBitmap Merge(string target, params string[] sources) =>
        new(target, [.. sources.Select(s => new BitmapRef(s))]);
}
