using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>What tracking costs a write: each durability of ours beside a qemu-storage-daemon that tracks nothing, with
/// and without a FLUSH after every 32 writes. All in turn in the same run, on files that are fully allocated.</summary>
internal static class Cost
{
    private const long Size = 1L << 30;
    private const int Depth = 32;

    public static async Task<string> RunAsync(int rounds, int seconds)
    {
        await using var ledger = await Ledger.StartAsync();
        using var qemu = new QemuStorageDaemon(ledger.Scratch("qemu"), Size);
        qemu.Export("n0");
        List<(string Name, string Uri)> servers = [("tracking off (qemu-storage-daemon, no bitmap)", qemu.Uri("n0"))];
        List<string> missing = [];
        foreach (var durability in new[] { "process", "power" })
        {
            var made = ledger.Bml("volume", "create", durability, "--size", $"{Size}", "--durability", durability);
            if (made.ExitCode == 0)
            {
                ledger.Json("bitmap", "add", durability, "b0");
                servers.Add(($"durability `{durability}`, one bitmap", ledger.Export(durability)));
            }
            else
            {
                missing.Add($"| durability `{durability}` | not built: {made.Error.Trim()} | |");
            }
        }

        foreach (var (_, uri) in servers)
            Tool.Run("nbdcopy", "--allocated", await AgainstQemu.FullImageAsync(ledger), uri).Expect();
        var rows = await MeasureAsync(servers, rounds, seconds);
        return $"""
            | 4 KiB random writes a second, depth {Depth} | no FLUSH | FLUSH after every 32 |
            |---|---|---|
            {string.Join('\n', rows.Concat(missing))}
            """;
    }

    /// <summary>What an earlier measurement left in the page cache is not for the next one to write out.</summary>
    private static void FlushAll(List<(string Name, string Uri)> servers)
    {
        foreach (var (_, uri) in servers)
            NbdShell.Run(uri, "h.flush()");
    }

    private static async Task<IEnumerable<string>> MeasureAsync(
        List<(string Name, string Uri)> servers, int rounds, int seconds)
    {
        var plain = servers.Select(_ => new List<double>()).ToArray();
        var flushed = servers.Select(_ => new List<double>()).ToArray();
        for (var round = 0; round < rounds; round++)
        {
            for (var s = 0; s < servers.Count; s++)
            {
                FlushAll(servers);
                plain[s].Add((await Fio.RandomWritesAsync(servers[s].Uri, Depth, seconds, round)).PerSecond);
                FlushAll(servers);
                flushed[s].Add((await Fio.RandomWritesAsync(servers[s].Uri, Depth, seconds, round, "--fsync=32")).PerSecond);
            }
        }

        return servers.Select((server, s) =>
            $"| {server.Name} | {Median.Of(plain[s]).Show("N0")} | {Median.Of(flushed[s]).Show("N0")} |");
    }
}
