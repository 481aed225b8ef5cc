using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

/// <summary>fio's NBD engine: one client, one connection, random writes of 4 KiB.</summary>
internal static class Fio
{
    /// <summary>Writes a second over <paramref name="seconds"/>, and how many there were.</summary>
    public static async Task<(
        double PerSecond, long Count)> RandomWritesAsync(string uri, int depth, int seconds, int seed)
    {
        var result = await Tool.RunAsync("fio",
        [
            "--name=b", "--ioengine=nbd", $"--uri={uri}", "--rw=randwrite", "--bs=4k", $"--iodepth={depth}", "--norandommap",
            "--time_based", $"--runtime={seconds}", $"--randseed={seed}", "--output-format=json",
        ]);
        using var report = JsonDocument.Parse(result.Expect().Output[result.Output.IndexOf('{')..]);
        var write = report.RootElement.GetProperty("jobs")[0].GetProperty("write");
        return (write.GetProperty("iops").GetDouble(), write.GetProperty("total_ios").GetInt64());
    }
}
