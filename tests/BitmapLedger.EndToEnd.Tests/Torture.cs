using System.Buffers.Binary;
using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>
/// G1 by force: cycles of load, kill -9 of some of the programs at a random moment, recovery, and a comparison of what
/// the clients were told with what ledger and disk hold. The seed chooses victims and moments; a failure names it.
/// </summary>
internal sealed class Torture(int seed, Action<string> report)
{
    private const int Clients = 3;
    private const long SectorsPerClient = 1L << 22;
    private const long Size = Clients * SectorsPerClient * TortureClient.Sector;

    private static readonly string[] _parts = ["agent", "server", "postgres", "serve"];

    private readonly Random _random = new(seed);

    /// <summary>How often each sector was recorded, over all cycles.</summary>
    private readonly Dictionary<long, int> _recorded = [];

    private readonly HashSet<long> _unanswered = [];
    private long _comparedLsn;

    public async Task RunAsync(int cycles)
    {
        report($"torture: seed {seed}, {cycles} cycles");
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", $"{Size}");
        ledger.Json("bitmap", "add", "v", "b0");
        TortureClient[] clients =
            [.. Enumerable.Range(0, Clients).Select(c => new TortureClient(ledger.Export("v"), c * SectorsPerClient))];
        try
        {
            for (var cycle = 1; cycle <= cycles; cycle++)
                await CycleAsync(ledger, clients, cycle);
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
        }
    }

    private async Task CycleAsync(Ledger ledger, TortureClient[] clients, int cycle)
    {
        List<string> killed = [];
        var clock = Stopwatch.StartNew();
        try
        {
            await Task.WhenAll(clients.Select(c => c.MoreAsync(_random.Next(20, 300))));
            var errors = clients.Sum(c => c.Errors);
            var command = CommandAsync(ledger, cycle);
            await Task.Delay(_random.Next(40));
            Kill(ledger, killed, Victims());
            if (_random.Next(3) == 0)
            {
                // Once more, in the middle of coming back.
                await Task.Delay(_random.Next(1500));
                Kill(ledger, killed, [_parts[_random.Next(3)]]);
            }

            if (killed.Contains("serve"))
                await ledger.ServeAsync();
            await ledger.AnswersAsync("verify", "v");
            await Task.WhenAll(clients.Select(c => c.MoreAsync(50)));
            await command;
            if (!killed.Contains("agent"))
                Assert.Equal(errors, clients.Sum(c => c.Errors));
            var compared = await CompareAsync(ledger, clients);
            report($"torture: cycle {cycle}: killed {string.Join(" and ", killed)}; {compared} writes, each exactly once; "
                + $"{clock.Elapsed.TotalSeconds:0.0} s");
        }
        catch (Exception failure)
        {
            throw new InvalidOperationException(
                $"Torture failed: seed {seed}, cycle {cycle}, killed {string.Join(" and ", killed)}. Again with: "
                + $"tools/torture --seed {seed} --cycles {cycle}\n{failure.Message}\n{ledger.Logs()}", failure);
        }
    }

    private string[] Victims() => _random.Next(4) == 0
        ? _parts
        : [.. _parts.OrderBy(_ => _random.Next()).Take(_random.Next(1, 3))];

    /// <summary>Kills what runs of <paramref name="parts"/>; what has just died and has no process now is left out.</summary>
    private static void Kill(Ledger ledger, List<string> killed, IEnumerable<string> parts)
    {
        foreach (var part in parts.Where(p => p != "serve" || !killed.Contains("serve")))
        {
            if (part != "serve" && !File.Exists(Path.Combine(ledger.DataDirectory, "run", part + ".pid")))
                continue;
            killed.Add(part);
            ledger.Kill(part);
        }
    }

    /// <summary>A rotation at about the moment of the kill. It may be cut off, but must not end as a bug.</summary>
    private static async Task CommandAsync(Ledger ledger, int cycle)
    {
        var answer = await Task.Run(() => ledger.Bml("checkpoint", "create", "v", $"c{cycle}"));
        Assert.True(answer.ExitCode is 0 or 1 or 11, $"checkpoint create ended with {answer.ExitCode}: {answer.Error}");
    }

    /// <summary>The load stands still meanwhile: what a client was told before is compared, and all of it.</summary>
    private async Task<int> CompareAsync(Ledger ledger, TortureClient[] clients)
    {
        HashSet<long> acknowledged = [];
        foreach (var client in clients)
        {
            var (told, unanswered) = await client.PauseAsync();
            acknowledged.UnionWith(told);
            _unanswered.UnionWith(unanswered);
        }

        var writes = Recorded(ledger);
        foreach (var sector in writes)
            _recorded[sector] = _recorded.GetValueOrDefault(sector) + 1;
        Assert.DoesNotContain(acknowledged, s => _recorded.GetValueOrDefault(s) != 1);
        Assert.DoesNotContain(writes, s => _recorded[s] != 1);
        Assert.DoesNotContain(writes, s => !acknowledged.Contains(s) && !_unanswered.Contains(s));
        Assert.Empty(OnDisk(ledger, acknowledged));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
        foreach (var client in clients)
            await client.GoOnAsync();
        return acknowledged.Count;
    }

    /// <summary>Sectors of the single writes recorded since the last comparison, as often as they were.</summary>
    private List<long> Recorded(Ledger ledger)
    {
        var blame = ledger.Json(
            "blame", "v", "--offset", "0", "--length", $"{Size}", "--from", $"lsn:{_comparedLsn}", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        Assert.True(blame.GetProperty("exact").GetBoolean(), blame.GetProperty("gaps").GetRawText());
        List<long> sectors = [];
        foreach (var write in blame.GetProperty("writes").EnumerateArray())
        {
            _comparedLsn = Math.Max(_comparedLsn, write.GetProperty("lsn").GetInt64());
            Assert.Equal(TortureClient.Sector, write.GetProperty("length").GetInt64());
            sectors.Add(write.GetProperty("offset").GetInt64() / TortureClient.Sector);
        }

        return sectors;
    }

    /// <summary>Acknowledged sectors that do not hold what was written.</summary>
    private static List<long> OnDisk(Ledger ledger, IEnumerable<long> sectors)
    {
        using var image = File.OpenHandle(
            Path.Combine(ledger.DataDirectory, "volumes", "v.img"), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var data = new byte[TortureClient.Sector];
        List<long> wrong = [];
        foreach (var sector in sectors)
        {
            RandomAccess.Read(image, data, sector * TortureClient.Sector);
            for (var at = 0; at < data.Length; at += sizeof(long))
            {
                if (BinaryPrimitives.ReadInt64LittleEndian(data.AsSpan(at)) == sector + 1)
                    continue;
                wrong.Add(sector);
                break;
            }
        }

        return wrong;
    }
}
