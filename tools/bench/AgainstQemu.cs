using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>4 KiB random writes with one dirty bitmap: ours and qemu-storage-daemon's in turn, on files beside each
/// other.</summary>
internal static class AgainstQemu
{
    private const long Size = 1L << 30;

    public static async Task<string> RunAsync(int depth, int rounds, int seconds)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        using var qemu = new QemuStorageDaemon(ledger.Scratch("qemu"), Size);
        qemu.Execute("block-dirty-bitmap-add", new { node = "n0", name = "b0" });
        qemu.Export("n0", "b0");
        // Both files get their blocks before anything is measured, so that neither pays for allocation.
        foreach (var uri in new[] { ledger.Export("v"), qemu.Uri("n0") })
            Tool.Run("nbdcopy", "--allocated", await FullImageAsync(ledger), uri).Expect();

        List<double> ours = [], theirs = [];
        for (var round = 0; round < rounds; round++)
        {
            ours.Add((await Fio.RandomWritesAsync(ledger.Export("v"), depth, seconds, round)).PerSecond);
            theirs.Add((await Fio.RandomWritesAsync(qemu.Uri("n0"), depth, seconds, round)).PerSecond);
        }

        var ratio = Median.Of(ours.Zip(theirs, (o, t) => o / t));
        var floor = depth == 32 ? "2" : "–";
        return $"| 4 KiB random writes a second, depth {depth}, against qemu-storage-daemon | {Median.Of(ours).Show("N0")} | " +
            $"{Median.Of(theirs).Show("N0")} | {ratio.Show("0.00")} | {floor} |";
    }

    /// <summary>A file without holes.</summary>
    public static async Task<string> FullImageAsync(Ledger ledger)
    {
        var image = ledger.Scratch("full.img");
        if (!File.Exists(image))
            (await Tool.RunAsync("dd", ["if=/dev/urandom", $"of={image}", "bs=1M", $"count={Size >> 20}"])).Expect();
        return image;
    }
}
