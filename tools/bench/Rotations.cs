using System.Globalization;
using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

/// <summary>How long checkpoints hold writers up: sixteen connections write while 200 checkpoints are made. Measured in
/// the agent, from closing the gate to opening it.</summary>
internal static class Rotations
{
    private const int Connections = 16;
    private const int Checkpoints = 200;

    public static async Task<string> RunAsync()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var ending = new CancellationTokenSource();
        var writing = Enumerable.Range(0, Connections).Select(c => WriteAsync(ledger.Export("v"), c, ending.Token)).ToArray();
        var before = (await ledger.MetricsAsync())["bitmapledger_volume_last_lsn{volume=\"v\"}"];
        for (var i = 0; i < Checkpoints; i++)
            ledger.Json("checkpoint", "create", "v", $"c{i}");
        var metrics = await ledger.MetricsAsync();
        await ending.CancelAsync();
        await Task.WhenAll(writing);
        return $"""
            | {Checkpoints} checkpoints while {Connections} connections write ({metrics["bitmapledger_volume_last_lsn{volume=\"v\"}"] - before:N0} writes) | median | 99 % | longest |
            |---|---|---|---|
            | writers held up, milliseconds (goal: 99 % below 1) | {Show("0.5")} | {Show("0.99")} | {Show("1")} |
            """;

        string Show(string quantile) => (1000 * metrics[
            $"bitmapledger_volume_rotation_stall_seconds{{volume=\"v\",quantile=\"{quantile}\"}}"]).ToString("0.000", CultureInfo.InvariantCulture);
    }

    private static async Task WriteAsync(string uri, int seed, CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
            await Fio.RandomWritesAsync(uri, depth: 4, seconds: 2, seed);
    }
}
