using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The same writes to qemu-storage-daemon's bitmap and to ours end in the same digest.</summary>
public sealed class QemuBitmapTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    [Theory]
    [InlineData(64 << 20, 65_536, 1)]
    [InlineData((64 << 20) - 512, 4096, 2)]
    [InlineData(1_000_448, 512, 3)]
    [InlineData(5 << 20, 1 << 20, 4)]
    public void Digest_and_count_equal_those_of_qemu_after_the_same_writes(long size, long granularity, int seed)
    {
        var ledger = shared.Empty();
        using var scratch = new ScratchDirectory();
        ledger.Json("volume", "create", "v", "--size", $"{size}");
        ledger.Json("bitmap", "add", "v", "b0", "--granularity", $"{granularity}");
        using var qemu = new QemuStorageDaemon(scratch["qemu"], size);
        qemu.Execute("block-dirty-bitmap-add", new { node = "n0", name = "b0", granularity });
        qemu.Export("n0", "b0");
        var random = new Random(seed);
        var commands = Enumerable.Range(
            0, 60).Select(_ => Command(random, size)).SelectMany(c => new[] { "-c", c }).ToArray();

        foreach (var uri in new[] { ledger.Export("v"), qemu.Uri("n0") })
            Tool.Run("qemu-io", ["-f", "raw", "-d", "unmap", .. commands, uri]).Expect();

        var ours = ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0];
        var digest = qemu.Execute("x-debug-block-dirty-bitmap-sha256", new { node = "n0", name = "b0" });
        var theirs = qemu.Execute("query-named-block-nodes", new { flat = true }).EnumerateArray()
            .Single(n => n.GetProperty("node-name").GetString() == "n0").GetProperty("dirty-bitmaps")[0];
        Assert.Equal(digest.GetProperty("sha256").GetString(), ours.GetProperty("sha256").GetString());
        Assert.Equal(theirs.GetProperty("count").GetInt64(), ours.GetProperty("count").GetInt64());
        var map = Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", qemu.Uri("n0")).Expect().Output;
        Assert.Equal(Extents.DirtyOf(map), Extents.Of(ours));
    }

    [Theory]
    [InlineData("bitmap", "add", "v", "b0")]
    [InlineData("bitmap", "remove", "v", "zz")]
    [InlineData("bitmap", "clear", "v", "zz")]
    [InlineData("bitmap", "enable", "v", "zz")]
    [InlineData("bitmap", "disable", "v", "zz")]
    public void A_refused_bitmap_command_says_what_qemu_says(params string[] command)
    {
        var ledger = shared.Empty();
        using var scratch = new ScratchDirectory();
        ledger.Json("volume", "create", "v", "--size", "1M");
        ledger.Json("bitmap", "add", "v", "b0");
        using var qemu = new QemuStorageDaemon(scratch["qemu"], 1 << 20);
        qemu.Execute("block-dirty-bitmap-add", new { node = "n0", name = "b0" });

        var theirs = qemu.Refusal($"block-dirty-bitmap-{command[1]}", new { node = "n0", name = command[3] });
        var ours = ledger.Bml([.. command, "--json"]);

        using var error = JsonDocument.Parse(ours.Error);
        Assert.NotEqual(0, ours.ExitCode);
        Assert.Equal(theirs, error.RootElement.GetProperty("error").GetProperty("message").GetString());
    }

    // Offsets and lengths are multiples of 512: qemu-io widens nothing then, on either side.
    private static string Command(Random random, long size)
    {
        var length = 512 * random.NextInt64(1, Math.Min(400, size / 512));
        var offset = 512 * random.NextInt64(0, (size - length) / 512 + 1);
        return random.Next(4) switch
        {
            0 => $"write -z {offset} {length}",
            1 => $"discard {offset} {length}",
            _ => $"write {offset} {length}",
        };
    }
}
