using System.Diagnostics;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G3: while PostgreSQL is away no I/O slows, and no command waits for it.</summary>
public sealed class OutageCostTests : OnSeparateCluster
{
    private const int Rounds = 2;
    private const int LoadsPerRound = 2;
    private const int CommandsPerRound = 3;

    /// <summary>Writes a second that are wanted: less than is done beside forty other busy processes on two cores, so that whoever gets
    /// fewer has waited for something else.</summary>
    private const int Rate = 1000;

    /// <summary>What is left of the throughput, at least.</summary>
    private const double ThroughputLeft = 0.75;

    /// <summary>How many times as long the slowest of a hundred writes takes, at most.</summary>
    private const double SlowEndTimes = 4;

    /// <summary>Milliseconds that a write may wait for a busy processor in any state. For PostgreSQL it would be hundreds: that is
    /// looked for four times a second.</summary>
    private const double SlowEndAnyway = 25;

    /// <summary>How many times as long a refusal takes as an answer, at most: to start <c>bml</c> is most of both.</summary>
    private const double RefusalTimes = 5;

    // Method: fio writes at a steady rate, in turn with PostgreSQL there, hanging and killed, and between them the backlog is
    // shipped. Each is compared with the others of this test, median with median.
    [Fact]
    public async Task No_write_slows_while_postgres_is_away_and_a_command_is_refused_as_fast_as_it_is_answered()
    {
        await using var ledger = await Ledgers.OnAsync(Cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        Measured there = new(), hanging = new(), killed = new();
        // Not counted: what every run after it finds done.
        _ = await LoadAsync(ledger);
        for (var round = 0; round < Rounds; round++)
        {
            Command(ledger, there, exitCode: 0);
            await LoadAsync(ledger, there);

            Cluster.Freeze();
            // It finds out, after seconds, and nobody who writes is any the wiser.
            var finding = Task.Run(() => Ledgers.BusyAsync(ledger, name => ["checkpoint", "create", "v", name]));
            await LoadAsync(ledger, hanging);
            _ = await finding;
            Command(ledger, hanging, exitCode: 11);
            Cluster.Thaw();
            await ledger.AnswersAsync("checkpoint", "create", "v", $"thawed{round}");

            await Cluster.KillAsync();
            _ = await Ledgers.BusyAsync(ledger, name => ["checkpoint", "create", "v", name]);
            await LoadAsync(ledger, killed);
            Command(ledger, killed, exitCode: 11);
            await Cluster.StartAsync();
            await ledger.AnswersAsync("checkpoint", "create", "v", $"started{round}");
        }

        var shown = $"there {there}; hanging {hanging}; killed {killed}";
        TestContext.Current.TestOutputHelper!.WriteLine(shown);
        foreach (var away in new[] { hanging, killed })
        {
            Assert.True(away.PerSecond >= ThroughputLeft * there.PerSecond, shown);
            Assert.True(away.SlowEnd <= Math.Max(SlowEndAnyway, SlowEndTimes * there.SlowEnd), shown);
            Assert.True(away.Command <= RefusalTimes * there.Command, shown);
        }
    }

    private static void Command(Ledger ledger, Measured state, int exitCode)
    {
        for (var i = 0; i < CommandsPerRound; i++)
        {
            var asked = Stopwatch.StartNew();
            _ = ledger.Bml("bitmap", "clear", "v", "b0").Expect(exitCode);
            state.Commands.Add(asked.Elapsed.TotalMilliseconds);
        }
    }

    private static async Task LoadAsync(Ledger ledger, Measured state)
    {
        for (var i = 0; i < LoadsPerRound; i++)
            state.Loads.Add(await LoadAsync(ledger));
    }

    /// <summary>Half a second of fio; a write that fails fails it.</summary>
    private static async Task<(double PerSecond, double SlowEnd)> LoadAsync(Ledger ledger)
    {
        var result = await Tool.RunAsync("fio",
        [
            "--name=load", "--ioengine=nbd", $"--uri={ledger.Export("v")}", "--rw=randwrite", "--bs=4k", "--iodepth=8", "--norandommap",
            "--time_based", "--runtime=500ms", $"--rate_iops={Rate}", "--percentile_list=99", "--output-format=json",
        ]);
        using var report = JsonDocument.Parse(result.Expect().Output[result.Output.IndexOf('{')..]);
        var job = report.RootElement.GetProperty("jobs")[0];
        Assert.Equal(0, job.GetProperty("error").GetInt32());
        var write = job.GetProperty("write");
        var slowest = write.GetProperty("clat_ns").GetProperty("percentile").EnumerateObject().Single().Value.GetDouble();
        return (write.GetProperty("iops").GetDouble(), slowest / 1e6);
    }

    /// <summary>What was measured in one state of PostgreSQL.</summary>
    private sealed class Measured
    {
        public List<(double PerSecond, double SlowEnd)> Loads { get; } = [];

        public List<double> Commands { get; } = [];

        public double PerSecond => Median(Loads.Select(l => l.PerSecond));

        /// <summary>Milliseconds that 99 of 100 writes do not exceed.</summary>
        public double SlowEnd => Median(Loads.Select(l => l.SlowEnd));

        /// <summary>Milliseconds of a command.</summary>
        public double Command => Median(Commands);

        public override string ToString() => $"{PerSecond:0} writes/s, 99 % within {SlowEnd:0.000} ms, a command in {Command:0} ms";

        private static double Median(IEnumerable<double> values)
        {
            double[] sorted = [.. values.Order()];
            return sorted[sorted.Length / 2];
        }
    }
}
