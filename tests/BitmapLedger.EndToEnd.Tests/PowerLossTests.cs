using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G2 from outside: every process is killed and another boot of the machine is named to the Agent.</summary>
public sealed class PowerLossTests
{
    private const long Block = 65536;
    private const long Size = 64 << 20;

    [Fact]
    public async Task After_a_power_loss_flushed_writes_are_recorded_and_what_else_may_have_changed_is_told_as_inexact()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "p", "--size", "64M", "--durability", "process");
        Assert.Equal("power", ledger.Json("volume", "show", "v").GetProperty("durability").GetString());
        ledger.Json("bitmap", "add", "v", "b0");
        WriteBlocks(ledger, "v", 0, 10, "h.flush()");
        WriteBlocks(ledger, "p", 0, 10, "h.flush()");
        ledger.Json("checkpoint", "create", "v", "p", "c");
        ledger.Json("bitmap", "clear", "v", "b0");
        WriteBlocks(ledger, "v", 200, 5, "");

        await LosePowerAsync(ledger);

        var changed = ledger.Json("changed", "v", "--from", "checkpoint:c");
        Assert.False(changed.GetProperty("exact").GetBoolean());
        Assert.Empty(changed.GetProperty("gaps").EnumerateArray());
        AssertCovers(Extents.Of(changed), 200, 5);
        Assert.InRange(changed.GetProperty("changed_bytes").GetInt64(), 5 * Block, Size / 2);
        var replay = ledger.Json("replay", "v", "--at", "now");
        Assert.False(replay.GetProperty("exact").GetBoolean());
        AssertCovers(Extents.Of(replay.GetProperty("bitmaps")[0]), 200, 5);
        AssertEachFlushedWriteOnce(ledger.Json("blame", "v", "--offset", "0", "--length", "10M"));
        AssertRecoveredOnce(ledger);
        Assert.True(ledger.Json("changed", "v", "--from", "start", "--to", "checkpoint:c").GetProperty("exact").GetBoolean());
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();

        var all = ledger.Json("changed", "p", "--from", "checkpoint:c");
        Assert.False(all.GetProperty("exact").GetBoolean());
        Assert.Equal([(0, Size)], Extents.Of(all));

        // What has been told is not told again, and no LSN is given twice.
        WriteBlocks(ledger, "v", 300, 1, "");
        Assert.InRange(ledger.Json("volume", "show", "v").GetProperty("lsn").GetProperty("last").GetInt64(), 1 << 20, long.MaxValue);
        await ledger.StopAsync();
        await ledger.ServeAsync();
        AssertRecoveredOnce(ledger);
        ledger.Bml("check").Expect();
    }

    // Method: the agent starts alone, as systemd starts it, is killed and started once more, loses power a second time, and clients
    // write each time, before a server hears of any of it.
    [Fact]
    public async Task What_a_power_loss_may_have_changed_stands_before_the_writes_that_an_agent_took_alone_after_it()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "p", "--size", "64M", "--durability", "process");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Json("checkpoint", "create", "v", "p", "c");
        WriteBlocks(ledger, "v", 200, 5, "");
        WriteBlocks(ledger, "p", 200, 5, "");
        var before = ledger.Json("volume", "show", "v").GetProperty("lsn").GetProperty("last").GetInt64();

        ledger.Kill("agent", "server", "postgres", "serve");
        ledger.Variables["BITMAPLEDGER_BOOT_ID"] = $"{Guid.NewGuid()}";
        await AloneAsync(ledger, block: 300);
        await AloneAsync(ledger, block: 301);
        ledger.Variables["BITMAPLEDGER_BOOT_ID"] = $"{Guid.NewGuid()}";
        await AloneAsync(ledger, block: 302);
        await AloneAsync(ledger, block: 303);
        await ledger.ServeAsync();

        foreach (var volume in new[] { "v", "p" })
        {
            var lsns = Enumerable.Range(300, 4).Select(b => LsnOf(ledger, volume, b)).ToArray();
            // Each range ends among those writes: behind the first loss, behind the second, between the two.
            foreach (var (from, to, isTouched) in new[]
            {
                ("checkpoint:c", lsns[0], true), ($"lsn:{before}", lsns[1], true), ($"lsn:{lsns[1]}", lsns[2], true), ("checkpoint:c", lsns[3], true),
                ($"lsn:{lsns[0]}", lsns[1], false), ($"lsn:{lsns[2]}", lsns[3], false),
            })
            {
                var changed = ledger.Json("changed", volume, "--from", from, "--to", $"lsn:{to}");
                Assert.Equal(!isTouched, changed.GetProperty("exact").GetBoolean());
                if (isTouched)
                    AssertCovers(Extents.Of(changed), 200, 5);
                else
                    Assert.Equal(Block, changed.GetProperty("changed_bytes").GetInt64());
            }

            var times = ledger.Json("history", volume).GetProperty("events").EnumerateArray()
                .Select(e => e.GetProperty("time").GetString()!).ToArray();
            Assert.Equal(times.Order(StringComparer.Ordinal), times);
            Assert.True(ledger.Json("verify", volume).GetProperty("equal").GetBoolean());
        }

        ledger.Bml("check").Expect();
    }

    [Fact]
    public async Task A_file_that_was_changed_while_its_volume_was_closed_counts_as_changed_all_over_and_no_other()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("volume", "create", "w", "--size", "64M");
        WriteBlocks(ledger, "v", 0, 1, "");
        ledger.Json("checkpoint", "create", "v", "w", "c");
        await ledger.StopAsync();
        using (var image = File.OpenWrite(Path.Combine(ledger.DataDirectory, "volumes", "v.img")))
            image.WriteByte(1);

        await ledger.ServeAsync();

        var changed = ledger.Json("changed", "v", "--from", "checkpoint:c");
        Assert.Equal([(0, Size)], Extents.Of(changed));
        Assert.Contains("changed while", Assert.Single(changed.GetProperty("gaps").EnumerateArray()).ToString(), StringComparison.Ordinal);
        Assert.Empty(Extents.Of(ledger.Json("changed", "w", "--from", "checkpoint:c")));
    }

    private static async Task LosePowerAsync(Ledger ledger)
    {
        ledger.Kill("agent", "server", "postgres", "serve");
        ledger.Variables["BITMAPLEDGER_BOOT_ID"] = $"{Guid.NewGuid()}";
        await ledger.ServeAsync();
    }

    /// <summary>An agent without a server, which is killed once a block of each volume is written.</summary>
    private static async Task AloneAsync(Ledger ledger, long block)
    {
        using var agent = Tool.Start(
            Path.Combine(Repository.Programs, "bml-agent"), ["--data-dir", ledger.DataDirectory], variables: ledger.Variables);
        List<string> said = [];
        while (said.Count == 0 || !said[^1].Contains(" serving ", StringComparison.Ordinal))
            said.Add(await agent.StandardError.ReadLineAsync() ?? throw new InvalidOperationException(string.Join('\n', said)));
        foreach (var volume in new[] { "v", "p" })
            WriteBlocks(ledger, volume, block, 1, "h.flush()");
        agent.Kill();
        await agent.WaitForExitAsync();
    }

    private static long LsnOf(Ledger ledger, string volume, long block) => ledger
        .Json("blame", volume, "--offset", $"{block * Block}", "--length", "512").GetProperty("writes")[0].GetProperty("lsn").GetInt64();

    private static void WriteBlocks(Ledger ledger, string volume, long first, int count, string then) =>
        NbdShell.Run(ledger.Export(volume), $"""
            for i in range({first}, {first + count}):
                h.pwrite(b"x" * 512, i * {Block})
            {then}
            """);

    private static void AssertCovers((long Offset, long Length)[] extents, long first, int count)
    {
        for (var block = first; block < first + count; block++)
            Assert.Contains(extents, e => e.Offset <= block * Block && e.Offset + e.Length >= block * Block + 512);
    }

    private static void AssertEachFlushedWriteOnce(JsonElement blame)
    {
        Assert.False(blame.GetProperty("exact").GetBoolean());
        var offsets = blame.GetProperty("writes").EnumerateArray().Select(w => w.GetProperty("offset").GetInt64());
        Assert.Equal(Enumerable.Range(0, 10).Select(i => i * Block), offsets.Order());
    }

    private static void AssertRecoveredOnce(Ledger ledger)
    {
        var history = ledger.Json("history", "v");
        Assert.False(history.GetProperty("exact").GetBoolean());
        var recovered = Assert.Single(
            history.GetProperty("events").EnumerateArray(), e => e.GetProperty("type").GetString() == "WritesRecovered");
        Assert.NotEmpty(recovered.GetProperty("data").GetProperty("extents").EnumerateArray());
    }
}
