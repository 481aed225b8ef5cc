using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G1: whatever is killed and when, each acknowledged write is in the ledger exactly once, and none is
/// invented.</summary>
public sealed class CrashTests
{
    /// <summary>A client that writes on for minutes must not come to where the other one writes.</summary>
    private const long SectorsPerClient = 1 << 20;

    [Theory]
    [InlineData("agent")]
    [InlineData("server")]
    [InlineData("postgres")]
    [InlineData("serve")]
    [InlineData("agent", "server", "postgres", "serve")]
    public async Task After_kill_9_every_acknowledged_write_is_in_the_ledger_exactly_once(params string[] parts)
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var first = new AcknowledgedWrites(ledger.Export("v"), 0);
        using var second = new AcknowledgedWrites(ledger.Export("v"), SectorsPerClient);
        await first.UntilAsync(300);
        await second.UntilAsync(300);
        ledger.Json("checkpoint", "create", "v", "before");
        await first.UntilAsync(600);

        ledger.Kill(parts);

        await Recover(ledger, parts, first, second);
        var recorded = Recorded(ledger);
        foreach (var client in new[] { first, second })
            Assert.All(client.Sectors, s => Assert.Equal(1, recorded.GetValueOrDefault(s)));
        Assert.All(recorded, r => Assert.Equal(1, r.Value));
        // Each client has one request under way when it is cut off: recorded perhaps, answered never.
        Assert.InRange(
            recorded.Count, first.Sectors.Count + second.Sectors.Count, first.Sectors.Count + second.Sectors.Count + 2);
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        Assert.Equal(0, ledger.Bml("check").ExitCode);
    }

    [Fact]
    public async Task A_client_never_notices_that_server_and_postgres_were_killed()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        using var client = new AcknowledgedWrites(ledger.Export("v"), 0);
        await client.UntilAsync(200);

        ledger.Kill("server", "postgres");
        var atKill = client.Sectors.Count;
        await client.UntilAsync(atKill + 500);

        Assert.False(client.EndedAsync().IsFaulted);
        Assert.True(client.Sectors.Count >= atKill + 500);
    }

    [Fact]
    public async Task A_bitmap_and_a_checkpoint_go_on_over_a_restart_without_a_manual_step()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(ledger.Export("v"), [(0, 512)]);
        ledger.Json("checkpoint", "create", "v", "c");
        NbdShell.Write(ledger.Export("v"), [(1 << 20, 512)]);
        ledger.Kill("agent", "server", "postgres", "serve");

        await ledger.ServeAsync();
        NbdShell.Write(ledger.Export("v"), [(2 << 20, 512)]);

        Assert.Equal(
            [(0, 65536), (1 << 20, 65536), (2 << 20, 65536)],
            Extents.Of(ledger.Json("replay", "v", "--at", "now").GetProperty("bitmaps")[0]));
        Assert.Equal(
            [(1 << 20, 65536), (2 << 20, 65536)],
            Extents.Of(ledger.Json("changed", "v", "--from", "checkpoint:c", "--to", "now")));
        var map = Tool.Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--json", ledger.Export("v")).Expect().Output;
        Assert.Equal([(0, 65536), (1 << 20, 65536), (2 << 20, 65536)], Extents.DirtyOf(map));
    }

    private static async Task Recover(Ledger ledger, string[] parts, params AcknowledgedWrites[] clients)
    {
        if (parts.Contains("agent"))
        {
            foreach (var client in clients)
                await client.EndedAsync();
        }
        else
        {
            foreach (var client in clients)
            {
                await client.UntilAsync(client.Sectors.Count + 200);
                client.Dispose();
                await client.EndedAsync();
            }
        }

        if (parts.Contains("serve"))
            await ledger.ServeAsync();
        else
            await ledger.AnswersAsync("verify", "v");
    }

    /// <summary>How often each sector was written, as the ledger has it.</summary>
    private static Dictionary<long, int> Recorded(Ledger ledger)
    {
        var blame = ledger.Json("blame", "v", "--offset", "0", "--length", "1G", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        Assert.True(blame.GetProperty("exact").GetBoolean());
        return blame.GetProperty("writes").EnumerateArray()
            .CountBy(w => w.GetProperty("offset").GetInt64() / AcknowledgedWrites.Sector)
            .ToDictionary();
    }
}
