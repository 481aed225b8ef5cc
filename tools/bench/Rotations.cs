using System.Globalization;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>How long checkpoints hold writers up: sixteen connections write while 200 checkpoints are made, as fast as they can,
/// and at a rate that leaves most of the processors idle. Measured in the agent, from closing the gate to opening it.</summary>
internal static class Rotations
{
    private const int Connections = 16;
    private const int Checkpoints = 200;

    /// <summary>Writes a second of a connection that is in no hurry.</summary>
    private const int PacedRate = 100;

    /// <summary>Long enough that the starts of fio are little beside it.</summary>
    private const int PacedSeconds = 30;

    public static async Task<string> RunAsync() => $"""
        | {Checkpoints} checkpoints while {Connections} connections write, ms that writers were held up (goal: 99 % below 1) | median | 99 % | longest |
        |---|---|---|---|
        {await RowAsync("process", isPaced: false)}
        {await RowAsync("power", isPaced: false)}
        {await RowAsync("process", isPaced: true)}
        {await RowAsync("power", isPaced: true)}
        """;

    private static async Task<string> RowAsync(string durability, bool isPaced)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1G", "--durability", durability);
        ledger.Json("bitmap", "add", "v", "b0");
        using var ending = new CancellationTokenSource();
        var writing = Enumerable.Range(0, Connections).Select(c => WriteAsync(ledger.Export("v"), c, isPaced, ending.Token)).ToArray();
        for (var i = 0; i < Checkpoints; i++)
            ledger.Json("checkpoint", "create", "v", $"c{i}");
        var metrics = await ledger.MetricsAsync();
        await ending.CancelAsync();
        await Task.WhenAll(writing);
        var pace = isPaced ? $"{PacedRate} writes/s each" : "as fast as they can";
        return $"| durability `{durability}`, {pace} | {Show("0.5")} | {Show("0.99")} | {Show("1")} |";

        string Show(string quantile) => (1000 * metrics[
            $"bitmapledger_volume_rotation_stall_seconds{{volume=\"v\",quantile=\"{quantile}\"}}"]).ToString("0.000", CultureInfo.InvariantCulture);
    }

    private static async Task WriteAsync(string uri, int seed, bool isPaced, CancellationToken cancellation)
    {
        while (!cancellation.IsCancellationRequested)
        {
            _ = isPaced
                ? await Fio.RandomWritesAsync(uri, depth: 4, PacedSeconds, seed, $"--rate_iops={PacedRate}")
                : await Fio.RandomWritesAsync(uri, depth: 4, seconds: 2, seed);
        }
    }
}
