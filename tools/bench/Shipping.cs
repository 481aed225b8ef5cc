using System.Diagnostics;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Bench;

using Ledger = BitmapLedger.Testing.Ledger;

/// <summary>
/// How fast a backlog of single writes becomes events, and what a write takes in PostgreSQL. The server is stopped
/// while
/// the writes are made, so that shipping alone is measured.
/// </summary>
internal static class Shipping
{
    private const int FioSeconds = 5;

    public static async Task<IEnumerable<string>> RunAsync(int rounds)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1T");
        var before = await DatabaseBytesAsync(ledger);
        // A client that stays: one that is started for each question would take the time that is measured.
        using HttpClient http = new() { BaseAddress = ledger.Http };
        var token = await File.ReadAllTextAsync(Path.Combine(ledger.DataDirectory, "run", "http.token"));
        http.DefaultRequestHeaders.Authorization = new("Bearer", token.Trim());
        List<double> perSecond = [];
        var total = 0L;
        for (var round = 0; round < rounds; round++)
        {
            Posix.Signal(ledger.Pid("server"), Posix.SigStop);
            var (_, count) = await Fio.RandomWritesAsync(ledger.Export("v"), 32, FioSeconds, round);
            total += count;
            var catchingUp = Stopwatch.StartNew();
            Posix.Signal(ledger.Pid("server"), Posix.SigCont);
            while (await ShippedAsync(http) < total)
                await Task.Delay(10);
            perSecond.Add(count / catchingUp.Elapsed.TotalSeconds);
        }

        var bytes = (await DatabaseBytesAsync(ledger) - before) / (double)total;
        return
        [
            $"| writes shipped to PostgreSQL a second, random 4 KiB over 1 TiB | {Median.Of(perSecond).Show("N0")} | – | – | – |",
            $"| bytes a write in PostgreSQL, indexes and all, over {total:N0} writes | {bytes:0.00} | – | – | – |",
        ];
    }

    private static async Task<long> ShippedAsync(HttpClient http)
    {
        using var volume = JsonDocument.Parse(await http.GetStringAsync(new Uri("/v1/volumes/v", UriKind.Relative)));
        return volume.RootElement.GetProperty("lsn").GetProperty("shipped").GetInt64();
    }

    private static async Task<long> DatabaseBytesAsync(Ledger ledger)
    {
        var answer = await Tool.RunAsync("psql",
        [
            "-h", Path.Combine(ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-At",
            "-c", "select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                + "where n.nspname = 'bitmapledger' and c.relkind in ('r', 'p')",
        ]);
        return long.Parse(answer.Expect().Output.Trim());
    }
}
