using System.Globalization;
using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>What the next backup copies after a kill -9: the same disk and the same writes at QEMU and here.</summary>
internal static class AfterKillTable
{
    private const long Size = 10L << 30;
    private const int Count = 2000;
    private const int Seed = 1;

    public static async Task<string> RunAsync()
    {
        await using var ledger = await Ledger.StartAsync();
        var writes = KilledWhileDirty.Writes(Size, Count, Seed);
        var theirs = KilledWhileDirty.Qemu(ledger.Scratch("qemu"), Size, writes);
        var ours = await KilledWhileDirty.OursAsync(ledger, "v", Size, writes);
        return $"""
            | 10 GiB disk, a backup, {Count:N0} random 4 KiB writes, kill -9 | the bitmap afterwards | next backup | bytes to copy |
            |---|---|---|---|
            {Row("qemu-storage-daemon, qcow2, persistent bitmap", theirs)}
            {Row("BitmapLedger", ours)}
            """;
    }

    private static string Row(string who, AfterKill outcome) =>
        $"| {who} | {outcome.Bitmap} | {(outcome.IsUsable ? "incremental" : "full")} | "
        + $"{outcome.BytesToCopy.ToString("N0", CultureInfo.InvariantCulture)} |";
}
