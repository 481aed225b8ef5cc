using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Bench;

/// <summary>What building projections again costs, and how far they are behind while nothing else happens.</summary>
internal static class Rebuilds
{
    private static readonly CancellationToken _none = CancellationToken.None;

    public static async Task RunAsync(int rounds, int millions)
    {
        await using var history = await LongHistory.StartAsync();
        await history.GrowAsync(millions * 1_000_000L);
        await history.ProjectAsync();
        Console.WriteLine($"| what, {millions} M random 4 KiB writes over 1 TiB | ours | peer | ratio | floor |");
        Console.WriteLine("|---|---|---|---|---|");
        await RowsAsync(history, rounds);
    }

    public static async Task RowsAsync(LongHistory history, int rounds)
    {
        var rebuild = new ProjectionRebuild(history.Store, history.Source, TimeProvider.System);
        foreach (var projection in rebuild.Names)
        {
            List<double> rebuilt = [], streamed = [];
            for (var round = -1; round < rounds; round++)
            {
                var peer = history.LastLsn / (await LongHistory.MillisecondsAsync(() => StreamAsync(history)) / 1000);
                var ours = history.LastLsn / (await LongHistory.MillisecondsAsync(async () =>
                {
                    await rebuild.BeginAsync(projection, _none);
                    await rebuild.RunAsync(projection, _none);
                }) / 1000);
                if (round < 0)
                    continue;
                streamed.Add(peer);
                rebuilt.Add(ours);
            }

            var ratio = Median.Of(rebuilt.Zip(streamed, (r, s) => r / s));
            Console.WriteLine(
                $"| rebuild of `{projection}`, writes a second, against Npgsql streaming the rows undecoded | {Median.Of(rebuilt).Show("N0")} " +
                $"| {Median.Of(streamed).Show("N0")} | {ratio.Show("0.00")} | {(projection == BitmapBits.ProjectionName ? "0.35" : "–")} |");
        }

        await LagAsync(history);
    }

    private static async Task StreamAsync(LongHistory history)
    {
        await using var command = history.Source.CreateCommand("select bdata from bitmapledger.mt_events where bdata is not null order by seq_id");
        await using var row = await command.ExecuteReaderAsync(System.Data.CommandBehavior.SequentialAccess);
        var buffer = new byte[64 << 10];
        while (await row.ReadAsync())
        {
            await using var stream = await row.GetStreamAsync(0);
            while (await stream.ReadAsync(buffer) > 0)
            {
            }
        }
    }

    /// <summary>From the commit of an append, nothing else happening, until the projected bits stand there.</summary>
    private static async Task LagAsync(LongHistory history)
    {
        using var daemon = await history.Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(TimeSpan.FromMinutes(10));
        List<double> lags = [];
        for (var i = 0; i < 31; i++)
        {
            await Task.Delay(300);
            await history.AppendAsync(history.Block());
            lags.Add(await LongHistory.MillisecondsAsync(async () =>
            {
                while (await history.ScalarAsync<long>("select event from bitmapledger.bitmap_bits order by version desc limit 1") < history.LastEvent)
                    await Task.Delay(1);
            }));
        }

        await daemon.StopAllAsync();
        Console.WriteLine($"| append to projected while idle, ms | {Median.Of(lags).Show("0.0")} | – | – | at most 50 |");
    }
}
