using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G3: PostgreSQL away costs no write; commands say so at once; what waited is recorded once, in order.
/// <c>BITMAPLEDGER_OUTAGE_SECONDS</c> asks for a longer absence.</summary>
public sealed class OutageTests : OnSeparateCluster
{
    private const long SectorsPerClient = 1 << 20;

    private static readonly TimeSpan _absence = TimeSpan.FromSeconds(
        double.TryParse(Environment.GetEnvironmentVariable("BITMAPLEDGER_OUTAGE_SECONDS"), out var seconds) ? seconds : 0);

    [Theory]
    [InlineData("killed")]
    [InlineData("frozen")]
    public async Task While_postgres_is_away_clients_write_on_and_commands_are_busy_at_once(string how)
    {
        await using var ledger = await Ledgers.OnAsync(Cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var first = new AcknowledgedWrites(ledger.Export("v"), 0);
        using var second = new AcknowledgedWrites(ledger.Export("v"), SectorsPerClient);
        await first.UntilAsync(200);
        var (agent, server) = (ledger.Pid("agent"), ledger.Pid("server"));

        if (how == "killed")
            await Cluster.KillAsync();
        else
            Cluster.Freeze();

        // The first may be under way when it happens; from then on nobody waits for PostgreSQL.
        _ = ledger.Bml("checkpoint", "create", "v", "unheard");
        var asked = Stopwatch.StartNew();
        foreach (var line in new[] { "checkpoint create v c", "volume list", "changed v --from start", "verify v", "bitmap clear v b0" })
        {
            var answer = ledger.Bml(line.Split(' ')).Expect(11);
            Assert.Contains("PostgreSQL is away", answer.Error, StringComparison.Ordinal);
            Assert.Contains("writes go on and are journaled", answer.Error, StringComparison.Ordinal);
        }

        // Five waits of Npgsql's own would be over two minutes.
        Assert.True(asked.Elapsed < TimeSpan.FromSeconds(60), $"{asked.Elapsed}");
        Assert.Contains("waiting for PostgreSQL", await Ledgers.ReadyAsync(ledger), StringComparison.Ordinal);
        do
        {
            foreach (var client in new[] { first, second })
                await client.UntilAsync(client.Sectors.Count + 500);
        }
        while (asked.Elapsed < _absence);

        if (how == "killed")
            await Cluster.StartAsync();
        else
            Cluster.Thaw();

        await ledger.AnswersAsync("checkpoint", "create", "v", "after");
        await Ledgers.AssertWholeAsync(ledger, first, second);
        Assert.Equal((agent, server), (ledger.Pid("agent"), ledger.Pid("server")));
    }

    [Fact]
    public async Task A_server_that_starts_without_postgres_waits_for_it_while_clients_write()
    {
        await using var ledger = await Ledgers.OnAsync(Cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new AcknowledgedWrites(ledger.Export("v"), 0);
        await client.UntilAsync(100);
        await Cluster.KillAsync();
        var before = ledger.Pid("server");

        ledger.Kill("server");
        while (ledger.Bml("volume", "list") is var answer && !answer.Error.Contains("PostgreSQL is away", StringComparison.Ordinal))
            Assert.Equal(11, answer.ExitCode);
        await client.UntilAsync(client.Sectors.Count + 200);
        Assert.NotEqual(before, ledger.Pid("server"));
        Assert.Contains("PostgreSQL is away", File.ReadAllText(Path.Combine(ledger.DataDirectory, "log", "server.log")), StringComparison.Ordinal);

        await Cluster.StartAsync();

        await ledger.AnswersAsync("checkpoint", "create", "v", "after");
        await Ledgers.AssertWholeAsync(ledger, client);
    }

    [Fact]
    public async Task A_ledger_that_is_started_while_postgres_is_away_serves_its_volumes_and_is_ready_when_it_comes()
    {
        await using var ledger = await Ledgers.OnAsync(Cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        await ledger.StopAsync();
        await Cluster.KillAsync();

        var serving = ledger.ServeAsync("--database", Cluster.ConnectionString);
        while (!File.Exists(ledger.NbdSocket) && !serving.IsCompleted)
            await Task.Delay(10);
        using var client = new AcknowledgedWrites(ledger.Export("v"), 0);
        await client.UntilAsync(200);
        Assert.False(serving.IsCompleted);
        await Cluster.StartAsync();
        await serving;

        await Ledgers.AssertWholeAsync(ledger, client);
    }

    // Method: a proxy cuts each connection after a seeded number of bytes while clients write and checkpoints are made,
    // each one asked for again under its id until it is answered.
    [Fact]
    public async Task Connections_that_are_cut_anywhere_lose_nothing_double_nothing_and_keep_the_order()
    {
        const int seed = 20260317;
        const int cutsWanted = 25;
        await using var proxy = new CuttingProxy(Scratch("px"), Cluster.Socket, seed);
        await using var ledger = await Ledgers.OnAsync($"Host={Scratch("px")};Username=postgres;Database=bitmapledger");
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var first = new AcknowledgedWrites(ledger.Export("v"), 0);
        using var second = new AcknowledgedWrites(ledger.Export("v"), SectorsPerClient);

        proxy.Cutting = true;
        var checkpoints = CheckpointsWhile(ledger, () => proxy.Cuts < cutsWanted);
        proxy.Cutting = false;
        await AssertEachOnceAsync(ledger, checkpoints, first, second);
    }

    // Method: PostgreSQL has committed, and its word of it is lost: shipments, commands and projections find out by
    // themselves.
    [Fact]
    public async Task Commits_whose_acknowledgement_is_lost_on_the_wire_are_found_and_not_done_again()
    {
        const int lost = 25;
        await using var proxy = new CuttingProxy(Scratch("px"), Cluster.Socket, seed: 0);
        await using var ledger = await Ledgers.OnAsync($"Host={Scratch("px")};Username=postgres;Database=bitmapledger");
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var first = new AcknowledgedWrites(ledger.Export("v"), 0);
        using var second = new AcknowledgedWrites(ledger.Export("v"), SectorsPerClient);
        await first.UntilAsync(100);

        proxy.LoseAcknowledgements(lost);
        var checkpoints = CheckpointsWhile(ledger, () => proxy.Cuts < lost);
        await AssertEachOnceAsync(ledger, checkpoints, first, second);
    }

    // Method: a small file system holds the cluster and nothing else, and is filled.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_full_disk_of_postgres_is_an_outage_that_ends_when_there_is_room_again()
    {
        var mount = Directory.CreateDirectory(Scratch("full")).FullName;
        Tool.Run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", mount).Expect();
        try
        {
            await using var cluster = await SeparateCluster.StartAsync(Path.Combine(mount, "pg"));
            await using var ledger = await Ledgers.OnAsync(cluster.ConnectionString);
            ledger.Json("volume", "create", "v", "--size", "1G");
            ledger.Json("bitmap", "add", "v", "b0");
            using var client = new AcknowledgedWrites(ledger.Export("v"), 0);
            await client.UntilAsync(100);

            var filler = Path.Combine(mount, "filler");
            _ = Tool.Run("dd", "if=/dev/zero", $"of={filler}", "bs=64k");
            var answer = await Ledgers.BusyAsync(ledger, name => ["checkpoint", "create", "v", name]);
            Assert.Contains("PostgreSQL", answer.Error, StringComparison.Ordinal);
            await client.UntilAsync(client.Sectors.Count + 500);

            File.Delete(filler);
            // Without room for its log PostgreSQL itself ends.
            await cluster.StartAsync();
            await ledger.AnswersAsync("checkpoint", "create", "v", "after");
            await Ledgers.AssertWholeAsync(ledger, client);
        }
        finally
        {
            Tool.Run("umount", "-l", mount).Expect();
        }
    }

    [Fact]
    public async Task A_password_that_postgres_refuses_is_said_without_the_password_and_ends_the_start()
    {
        Cluster.Sql("create role stranger login password 'right'");
        var rules = Path.Combine(Cluster.Data, "pg_hba.conf");
        await File.WriteAllTextAsync(rules, "local all postgres trust\nlocal all all scram-sha-256\n");
        Cluster.Sql("select pg_reload_conf()");

        foreach (var password in new[] { "Password=never-to-be-seen;", "" })
        {
            var answer = Tool.Run(
                Path.Combine(Repository.Programs, "bml"), "serve", "--data-dir", Scratch("d"), "--http", "127.0.0.1:0",
                "--database", $"Host={Cluster.Socket};Username=stranger;Database=bitmapledger;{password}").Expect(1);

            Assert.Contains("PostgreSQL refuses the server", answer.Error, StringComparison.Ordinal);
            Assert.Contains("assword", answer.Error, StringComparison.Ordinal);
            Assert.DoesNotContain("never-to-be-seen", answer.Error + answer.Output, StringComparison.Ordinal);
            Assert.DoesNotContain(
                "never-to-be-seen", File.ReadAllText(Path.Combine(Scratch("d"), "log", "server.log")), StringComparison.Ordinal);
        }
    }

    /// <summary>Makes one checkpoint after the other, each asked for under its id until it is answered.</summary>
    private static List<string> CheckpointsWhile(Ledger ledger, Func<bool> holds)
    {
        List<string> made = [];
        var started = Stopwatch.StartNew();
        while (holds())
        {
            Assert.True(started.Elapsed < TimeSpan.FromMinutes(3), $"after {made.Count} checkpoints it still holds");
            var name = $"c{made.Count}";
            if (ledger.Bml("checkpoint", "create", "v", name, "--command-id", name) is { ExitCode: not 0 } answer)
                Assert.True(answer.ExitCode is 11, $"{answer.ExitCode}: {answer.Error}");
            else
                made.Add(name);
        }

        return made;
    }

    private static async Task AssertEachOnceAsync(Ledger ledger, List<string> checkpoints, params AcknowledgedWrites[] clients)
    {
        var last = $"c{checkpoints.Count}";
        await ledger.AnswersAsync("checkpoint", "create", "v", last, "--command-id", last);
        await Ledgers.AssertWholeAsync(ledger, clients);
        var made = ledger.Json("history", "v", "--type", "CheckpointCreated").GetProperty("events").EnumerateArray()
            .Select(e => e.GetProperty("data").GetProperty("name").GetString());
        Assert.Equal([.. checkpoints, last], made);
    }
}
