using System.Diagnostics;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>From typing <c>bml serve</c> on a stopped ledger to its ready line, and how long a client verb
/// takes.</summary>
internal static class ColdStart
{
    public static async Task<string> RunAsync(int rounds)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1G");
        List<double> starts = [], verbs = [];
        for (var round = 0; round < rounds; round++)
        {
            await ledger.StopAsync();
            var clock = Stopwatch.StartNew();
            await ledger.ServeAsync();
            starts.Add(clock.Elapsed.TotalSeconds);
            clock.Restart();
            ledger.Json("volume", "list");
            verbs.Add(clock.Elapsed.TotalMilliseconds);
        }

        return $"| cold start of `bml serve`, seconds | {Median.Of(starts).Show("0.00")} | – | – | – |\n" +
            $"| first `bml volume list` after it, milliseconds | {Median.Of(verbs).Show("0")} | – | – | – |";
    }
}
