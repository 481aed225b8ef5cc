using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A wall clock that jumps ahead and back under a running agent: order and replay stay right, and times of a
/// volume never go back.</summary>
public sealed class ClockTests
{
    private const long Block = 65536;
    private static readonly TimeSpan _suspended = TimeSpan.FromSeconds(6);

    // Method: the agent runs under libfaketime, which reads its offset from a file; the volume is written to before and
    // after each jump, with a checkpoint behind each write, and every range is asked for by name and by instant.
    [Fact]
    public async Task Jumps_of_the_clock_change_no_order_and_hold_up_no_shipping()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Kill("serve", "server", "agent");
        using var agent = await StartAgentAsync(ledger);
        await ledger.ServeAsync();
        Assert.Equal(agent.Id, ledger.Pid("agent"));

        string[] offsets = ["+0", "-1h", "+2h", "-30m", "+0"];
        List<string> instants = [];
        for (var i = 0; i < offsets.Length; i++)
        {
            Jump(ledger, offsets[i]);
            NbdShell.Write(ledger.Export("v"), [(i * Block, 512)]);
            await ShippedAsync(ledger, lsn: i + 1);
            instants.Add(ledger.Json("checkpoint", "create", "v", $"c{i}").GetProperty("time").GetString()!);
        }

        Assert.Equal(instants.Order(StringComparer.Ordinal).Distinct(), instants);
        var times = ledger.Json("history", "v").GetProperty("events").EnumerateArray()
            .Select(e => e.GetProperty("time").GetString()!).ToList();
        Assert.Equal(times.Order(StringComparer.Ordinal), times);
        for (var i = 1; i < offsets.Length; i++)
        {
            (long, long)[] expected = [(i * Block, Block)];
            Assert.Equal(expected, Changed(ledger, $"checkpoint:c{i - 1}", $"checkpoint:c{i}"));
            Assert.Equal(expected, Changed(ledger, instants[i - 1], instants[i]));
        }

        Assert.Equal(
            [(0, 3 * Block)],
            Extents.Of(ledger.Json("replay", "v", "--at", instants[2]).GetProperty("bitmaps")[0]));
        // A relative point counts from the later of wall clock and record, so the jump ahead does not hide the end.
        Assert.Equal([(2 * Block, 3 * Block)], Changed(ledger, "-1h", "now"));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    // Method: every program runs under libfaketime, all of them are stopped while clients write and a command is under way,
    // the clock goes elsewhere, and they go on. Longer than the server waits for an answer of PostgreSQL: here the monotonic
    // clock goes on, and limits end, which a real suspend would spare them.
    [Fact]
    public async Task A_suspend_of_the_machine_costs_no_write_and_changes_no_order()
    {
        await using var ledger = await Ledger.StartAsync();
        await ledger.StopAsync();
        Jump(ledger, "+0");
        foreach (var (name, value) in Faketime(ledger))
            ledger.Variables[name] = value;
        await ledger.ServeAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        using var client = new TortureClient(ledger.Export("v"), 0);
        string[] parts = ["agent", "server", "postgres"];
        int[] before = [.. parts.Select(ledger.Pid)];

        string[] offsets = ["+9h", "+8h"];
        for (var i = 0; i < offsets.Length; i++)
        {
            await client.MoreAsync(200);
            string[] command = ["checkpoint", "create", "v", $"c{i}", "--command-id", $"c{i}"];
            var underWay = Task.Run(() => ledger.Bml(command));
            ledger.Freeze();
            Jump(ledger, offsets[i]);
            await Task.Delay(_suspended);
            ledger.Thaw();
            Assert.True((await underWay).ExitCode is 0 or 11, $"{(await underWay).ExitCode}: {(await underWay).Error}");
            await ledger.AnswersAsync(command);
            await client.MoreAsync(200);
        }

        var (acknowledged, _) = await client.PauseAsync();
        await ledger.AnswersAsync("verify", "v");
        Assert.Equal(0, client.Errors);
        Assert.Equal(before, parts.Select(ledger.Pid));
        var events = ledger.Json("history", "v").GetProperty("events").EnumerateArray().ToList();
        Assert.Equal(
            ["c0", "c1"],
            events.Where(e => e.GetProperty("type").GetString() == "CheckpointCreated")
                .Select(e => e.GetProperty("data").GetProperty("name").GetString()));
        AssertTimesGoOn(events, acrossHours: 9);
        var blame = ledger.Json("blame", "v", "--offset", "0", "--length", "64M", "--limit", "1000000");
        Assert.True(blame.GetProperty("exact").GetBoolean());
        Assert.Equal(
            acknowledged.Order(),
            blame.GetProperty("writes").EnumerateArray().OrderBy(w => w.GetProperty("lsn").GetInt64())
                .Select(w => w.GetProperty("offset").GetInt64() / TortureClient.Sector));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    private static void AssertTimesGoOn(List<JsonElement> events, int acrossHours)
    {
        var times = events.Select(e => e.GetProperty("time").GetDateTimeOffset()).ToList();
        Assert.Equal(times.Order(), times);
        Assert.InRange(times[^1] - times[0], TimeSpan.FromHours(acrossHours), TimeSpan.FromHours(acrossHours + 1));
    }

    private static (long Offset, long Length)[] Changed(Ledger ledger, string from, string to)
    {
        var changed = ledger.Json("changed", "v", "--from", from, "--to", to);
        Assert.True(changed.GetProperty("exact").GetBoolean());
        return Extents.Of(changed);
    }

    /// <summary>An agent of our own, which the next <c>bml serve</c> takes over.</summary>
    private static async Task<Process> StartAgentAsync(Ledger ledger)
    {
        Jump(ledger, "+0");
        var agent = Tool.Start(
            Path.Combine(Repository.Programs, "bml-agent"), ["--data-dir", ledger.DataDirectory], variables: Faketime(ledger));
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (ledger.Pid("agent") != agent.Id)
            await Task.Delay(20, limit.Token);
        return agent;
    }

    /// <summary>A program with these reads the offset of its wall clock from a file.</summary>
    private static Dictionary<string, string> Faketime(Ledger ledger) => new()
    {
        ["LD_PRELOAD"] = Directory.GetDirectories("/usr/lib")
            .Select(d => Path.Combine(d, "faketime", "libfaketime.so.1")).First(File.Exists),
        ["FAKETIME_TIMESTAMP_FILE"] = ledger.Scratch("offset"),
        ["FAKETIME_NO_CACHE"] = "1",
        ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1",
        ["DONT_FAKE_MONOTONIC"] = "1",
    };

    private static void Jump(Ledger ledger, string offset)
    {
        var next = ledger.Scratch("offset.next");
        File.WriteAllText(next, offset + "\n");
        File.Move(next, ledger.Scratch("offset"), overwrite: true);
    }

    /// <summary>Waits until the shipper has taken a write by itself: no command asks for it.</summary>
    private static async Task ShippedAsync(Ledger ledger, long lsn)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (Lsn(ledger.Json("volume", "show", "v")) < lsn)
            await Task.Delay(50, limit.Token);
    }

    private static long Lsn(JsonElement volume) =>
        long.Parse(volume.GetProperty("lsn").GetProperty("shipped").GetRawText(), CultureInfo.InvariantCulture);
}
