using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The reason for all this: what a kill -9 leaves of change tracking, at QEMU and here.</summary>
public sealed class KilledQemuTests
{
    private const long Size = 64 << 20;

    [Fact]
    public async Task After_kill_9_qemu_can_only_copy_everything_and_we_copy_what_was_written()
    {
        await using var ledger = await Ledger.StartAsync();
        var writes = KilledWhileDirty.Writes(Size, count: 40, seed: 5);

        var theirs = KilledWhileDirty.Qemu(ledger.Scratch("qemu"), Size, writes);
        var ours = await KilledWhileDirty.OursAsync(ledger, "v", Size, writes);

        Assert.False(theirs.IsUsable);
        Assert.Equal("Bitmap 'b0' is inconsistent and cannot be used", theirs.Bitmap);
        Assert.Equal(Size, theirs.BytesToCopy);
        Assert.True(ours.IsUsable);
        Assert.Equal(Extents.Touched(writes.Select(o => (o, 4096L)), 65_536, Size).Sum(e => e.Length), ours.BytesToCopy);
    }
}
