using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

/// <summary>fio's NBD engine: one client, one connection, random writes of 4 KiB.</summary>
internal static class Fio
{
    /// <summary>Writes a second over <paramref name="seconds"/>, and how many there were.</summary>
    /// <param name="uri">Export.</param>
    /// <param name="depth">Writes under way.</param>
    /// <param name="seconds">How long.</param>
    /// <param name="seed">Chooses the blocks.</param>
    /// <param name="more">Further options, e.g. <c>--fsync=32</c> for a FLUSH after each 32 writes.</param>
    public static async Task<(
        double PerSecond, long Count)> RandomWritesAsync(
        string uri, int depth, int seconds, int seed, params IEnumerable<string> more)
    {
        var result = await Tool.RunAsync("fio",
        [
            "--name=b", "--ioengine=nbd", $"--uri={uri}", "--rw=randwrite", "--bs=4k", $"--iodepth={depth}", "--norandommap",
            "--time_based", $"--runtime={seconds}", $"--randseed={seed}", "--output-format=json",
            .. more,
        ]);
        using var report = JsonDocument.Parse(result.Expect().Output[result.Output.IndexOf('{')..]);
        var write = report.RootElement.GetProperty("jobs")[0].GetProperty("write");
        return (write.GetProperty("iops").GetDouble(), write.GetProperty("total_ios").GetInt64());
    }
}
