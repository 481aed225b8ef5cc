using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>What tests of ledgers on a PostgreSQL of the user's own have in common.</summary>
internal static class Ledgers
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);

    /// <summary>Makes the schema, as its owner would, and serves.</summary>
    public static async Task<Ledger> OnAsync(string database)
    {
        Tool.Run(Path.Combine(Repository.Programs, "bml"), "db", "apply", "--database", database).Expect();
        return await Ledger.StartAsync("--database", database);
    }

    /// <summary>Asks until the answer is busy; each time under another name.</summary>
    public static async Task<ToolResult> BusyAsync(Ledger ledger, Func<string, string[]> line)
    {
        var asked = Stopwatch.StartNew();
        for (var i = 0; ; i++)
        {
            var answer = ledger.Bml(line($"n{i}"));
            if (answer.ExitCode == 11)
                return answer;
            Assert.True(answer.ExitCode == 0, $"{answer.ExitCode}: {answer.Error}");
            Assert.True(asked.Elapsed < _limit, "never busy");
            await Task.Delay(50);
        }
    }

    /// <summary>What <c>/health/ready</c> says.</summary>
    public static async Task<string> ReadyAsync(Ledger ledger)
    {
        using var http = new HttpClient();
        return await (await http.GetAsync(new Uri(ledger.Http, "/health/ready"))).Content.ReadAsStringAsync();
    }

    /// <summary>Ends the clients; each write that was answered is recorded once, in its client's order, and nothing is that
    /// was not asked; all bits are equal.</summary>
    public static async Task AssertWholeAsync(Ledger ledger, params AcknowledgedWrites[] clients)
    {
        foreach (var client in clients)
        {
            client.Dispose();
            await client.EndedAsync();
        }

        await ledger.AnswersAsync("verify", "v");
        var blame = ledger.Json("blame", "v", "--offset", "0", "--length", "1G", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        Assert.True(blame.GetProperty("exact").GetBoolean());
        var writes = blame.GetProperty("writes").EnumerateArray()
            .Select(w => (Sector: w.GetProperty("offset").GetInt64() / AcknowledgedWrites.Sector, Lsn: w.GetProperty("lsn").GetInt64()))
            .OrderBy(w => w.Lsn).ToArray();
        var recorded = writes.ToDictionary(w => w.Sector, w => w.Lsn);
        foreach (var client in clients)
        {
            long[] lsns = [.. client.Sectors.Select(s => recorded[s])];
            Assert.Equal(lsns.Order(), lsns);
        }

        Assert.InRange(recorded.Count, clients.Sum(c => c.Sectors.Count), clients.Sum(c => c.Sectors.Count) + clients.Length);
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }
}
