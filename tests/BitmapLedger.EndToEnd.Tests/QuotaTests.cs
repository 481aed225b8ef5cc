using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G3: PostgreSQL hangs until the journal quota is used up; then the volume's policy decides.</summary>
public sealed class QuotaTests
{
    private const long Size = 64 << 20;

    /// <summary>Two segments without their headers, in records.</summary>
    private const long WritesMost = 2 * ((16 << 20) - 512) / 64;

    // Method: two volumes, one for each policy, are filled while PostgreSQL hangs. Then every acknowledged write is counted in
    // the ledger: not one more, not one less.
    [Fact]
    public async Task At_the_quota_writes_wait_or_fail_as_the_volume_wants_and_none_goes_untracked()
    {
        await using var ledger = await Ledger.StartAsync("--journal-quota", "32M");
        ledger.Json("volume", "create", "waits", "--size", $"{Size}");
        ledger.Json("volume", "create", "fails", "--size", $"{Size}", "--when-full", "fail");
        NbdShell.Write(ledger.Export("waits"), [(0, 512)]);
        using var stall = new NbdFlood(ledger.NbdSocket, "waits", Size);
        using var fail = new NbdFlood(ledger.NbdSocket, "fails", Size);
        using var enough = new CancellationTokenSource();
        ledger.FreezePostgres();
        Task[] flooding;
        long acknowledged;
        try
        {
            flooding = [stall.RunAsync(_ => false, enough.Token), fail.RunAsync(f => f.NoSpaces > 0, enough.Token)];
            await flooding[1];
            await Waiting.UntilAsync(() => Log(ledger).Contains("writes wait now", StringComparison.Ordinal));

            Assert.InRange(stall.Acknowledged, 1, WritesMost);
            Assert.Equal(0, stall.NoSpaces);
            NbdShell.Run(ledger.Export("waits"), "h.pread(4096, 0)");
            // A batch did not fit; single writes do until the last slot is taken.
            var singles = NbdShell.Run(ledger.Export("fails"), """
                import errno
                count = 0
                try:
                    while True:
                        h.pwrite(bytes(512), 0)
                        count += 1
                except nbd.Error as error:
                    assert error.errnum == errno.ENOSPC, error
                print(count)
                """);
            acknowledged = long.Parse(singles.Output);
            Assert.InRange(fail.Acknowledged + acknowledged, 1, WritesMost);
            var metrics = await ledger.MetricsAsync();
            Assert.Equal(0, metrics["bitmapledger_postgres_up"]);
            Assert.Equal(1, metrics["bitmapledger_agent_up"]);
            Assert.Equal(1, metrics["bitmapledger_volume_journal_full{volume=\"waits\"}"]);
            Assert.True(metrics["bitmapledger_volume_unshipped_bytes{volume=\"fails\"}"] > 30 << 20);
            Assert.True(metrics["bitmapledger_volume_unshipped_seconds{volume=\"fails\"}"] > 0);
        }
        finally
        {
            ledger.ThawPostgres();
        }

        var atThaw = stall.Acknowledged;
        await Waiting.UntilAsync(() => stall.Acknowledged > atThaw + 1000);
        await enough.CancelAsync();
        await flooding[0];
        await ledger.AnswersAsync("verify", "waits");
        await ledger.AnswersAsync("verify", "fails");
        Assert.Equal(0, stall.NoSpaces);
        Assert.Equal(stall.Acknowledged + 1, Recorded(ledger, "waits"));
        Assert.Equal(fail.Acknowledged + acknowledged, Recorded(ledger, "fails"));
        AssertWarnings(Log(ledger));
    }

    [Fact]
    public async Task Another_quota_at_a_restart_is_for_the_volumes_that_are_there_too()
    {
        await using var ledger = await Ledger.StartAsync("--journal-quota", "32M");
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        Assert.Equal(2, await SegmentsAsync(ledger));

        await ledger.StopAsync();
        await ledger.ServeAsync("--journal-quota", "64M");
        Assert.Equal(4, await SegmentsAsync(ledger));

        // Adopted, not started: it is told.
        ledger.Kill("serve");
        await ledger.ServeAsync("--journal-quota", "96M");
        Assert.Equal(6, await SegmentsAsync(ledger));
    }

    [Fact]
    public async Task What_a_command_or_a_query_has_shipped_no_longer_counts_as_waiting_although_nothing_is_written_after_it()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b");
        ledger.Json("retention", "set", "v", "b", "--slices", "4");
        string[][] lines = [["slice", "bank", "v", "b"], ["bitmap", "show", "v", "b"]];
        foreach (var (line, i) in lines.Select((l, i) => (l, i)))
        {
            NbdShell.Write(ledger.Export("v"), [(0, 512)]);
            ledger.Json(line);
            using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
            while (!IsShipped(await ledger.MetricsAsync(), i + 1))
                await Task.Delay(20, limit.Token);
        }

        static bool IsShipped(IReadOnlyDictionary<string, double> metrics, long lsn) =>
            metrics["bitmapledger_volume_last_lsn{volume=\"v\"}"] == lsn
            && metrics["bitmapledger_volume_unshipped_bytes{volume=\"v\"}"] == 0
            && metrics["bitmapledger_volume_unshipped_seconds{volume=\"v\"}"] == 0;
    }

    private static async Task<double> SegmentsAsync(Ledger ledger) =>
        (await ledger.MetricsAsync())["bitmapledger_volume_journal_quota_bytes{volume=\"v\"}"] / ((16 << 20) - 512);

    private static void AssertWarnings(string log)
    {
        foreach (var volume in new[] { "waits", "fails" })
            foreach (var mark in new[] { 50, 80, 95, 100 })
                Assert.Single(log.Split('\n'), l => l.Contains($"volume '{volume}': {mark} %", StringComparison.Ordinal));
        Assert.Contains("writes fail now with ENOSPC until there is room; bring PostgreSQL", log, StringComparison.Ordinal);
        Assert.Contains("waits since 20", log, StringComparison.Ordinal);
    }

    private static long Recorded(Ledger ledger, string volume) => ledger.Json("history", volume, "--type", "WritesRecorded")
        .GetProperty("events").EnumerateArray().Sum(e => e.GetProperty("writes").GetInt64());

    private static string Log(Ledger ledger) => File.ReadAllText(Path.Combine(ledger.DataDirectory, "log", "agent.log"));
}
