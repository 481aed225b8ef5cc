using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A ledger that listens on a unix socket and on a port that the system picks.</summary>
public sealed class SupervisedLedger : IAsyncLifetime
{
    public Ledger Ledger { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Ledger = await Ledger.StartAsync(
        l => ["--nbd", $"nbd+unix:///?socket={l.NbdSocket}", "--nbd", "nbd://127.0.0.1:0"]);

    public async ValueTask DisposeAsync() => await Ledger.DisposeAsync();
}

/// <summary>The programs outlive each other, and clients outlive all of them. Each test leaves the ledger serving.</summary>
public sealed class SupervisionTests(SupervisedLedger supervised) : IClassFixture<SupervisedLedger>
{
    private readonly Ledger _ledger = supervised.Ledger;

    // Method: one long-lived QEMU client writes, the agent is killed, and the same client writes and reads on. It is told
    // to try again for ten minutes, so only an agent that does not come back under the same address fails this.
    [Theory]
    [InlineData("unix")]
    [InlineData("tcp")]
    public async Task A_qemu_client_goes_on_over_a_kill_9_of_the_agent(string transport)
    {
        var volume = $"qemu-{transport}";
        _ledger.Json("volume", "create", volume, "--size", "16M");
        var tcp = new Uri(_ledger.ReadyLine.Split(' ').Single(w => w.StartsWith("nbd=nbd://", StringComparison.Ordinal))["nbd=".Length..]);
        var server = transport == "tcp"
            ? $"server.type=inet,server.host={tcp.Host},server.port={tcp.Port}"
            : $"server.type=unix,server.path={_ledger.NbdSocket}";
        // Line by line, so that it is known when it has an answer: one that it lacks it asks for again, rightly.
        using var qemu = Tool.Start(
            "stdbuf", ["-oL", "qemu-io", "--image-opts", $"driver=nbd,{server},export={volume},reconnect-delay=600"], withInput: true);
        var complaints = qemu.StandardError.ReadToEndAsync();
        await TellAsync(qemu, "write -P 1 0 64k");
        var first = await qemu.StandardOutput.ReadLineAsync();
        Assert.Contains("wrote 65536/65536 bytes at offset 0", first, StringComparison.Ordinal);
        var output = qemu.StandardOutput.ReadToEndAsync();

        var agent = _ledger.Pid("agent");
        _ledger.Kill("agent");
        await Waiting.UntilAsync(() => !Posix.IsAlive(agent));
        await TellAsync(qemu, "write -P 2 1M 64k");
        await TellAsync(qemu, "read -P 1 0 64k");
        await TellAsync(qemu, "read -P 2 1M 64k");
        await TellAsync(qemu, "quit");
        // qemu-io looks for lines that it has already taken in only when its input moves.
        qemu.StandardInput.Close();
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        await qemu.WaitForExitAsync(limit.Token);

        var said = await output + await complaints;
        Assert.Contains("wrote 65536/65536 bytes at offset 1048576", said, StringComparison.Ordinal);
        Assert.Contains("read 65536/65536 bytes at offset 1048576", said, StringComparison.Ordinal);
        Assert.DoesNotContain("failed", said, StringComparison.Ordinal);
        await Waiting.UntilAsync(() => _ledger.Bml("verify", volume).ExitCode == 0);
        Assert.Equal(2, LastLsn(volume));
    }

    // Method: nbdcopy copies from a pipe that holds back the second half of the image, so that the agent is killed in the middle.
    [Fact]
    public async Task Nbdcopy_that_a_kill_9_of_the_agent_has_cut_off_copies_all_of_it_when_it_is_run_again_under_the_same_socket()
    {
        var data = new byte[64 << 20];
        new Random(20_261_201).NextBytes(data);
        var image = _ledger.Scratch("copied.img");
        await File.WriteAllBytesAsync(image, data);
        _ledger.Json("volume", "create", "copied", "--size", $"{data.Length}");
        using var cut = Tool.Start("nbdcopy", ["--flush", "--", "-", _ledger.Export("copied")], withInput: true);
        var complaints = cut.StandardError.ReadToEndAsync();
        await cut.StandardInput.BaseStream.WriteAsync(data.AsMemory(0, data.Length / 2));
        await cut.StandardInput.BaseStream.FlushAsync();
        await Waiting.UntilAsync(() => LastLsn("copied") > 0);

        var agent = _ledger.Pid("agent");
        _ledger.Kill("agent");
        await Waiting.UntilAsync(() => !Posix.IsAlive(agent));
        // One that has ended already takes no more.
        _ = await Record.ExceptionAsync(async () =>
        {
            await cut.StandardInput.BaseStream.WriteAsync(data.AsMemory(data.Length / 2));
            cut.StandardInput.Close();
        });
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        await cut.WaitForExitAsync(limit.Token);
        Assert.True(cut.ExitCode != 0, await complaints);
        await _ledger.AnswersAsync("checkpoint", "create", "copied", "cut");
        await Waiting.UntilAsync(() => Tool.Run("nbdcopy", "--flush", image, _ledger.Export("copied")).ExitCode == 0);

        Tool.Run("nbdcopy", _ledger.Export("copied"), _ledger.Scratch("copied.out")).Expect();
        Tool.Run("cmp", image, _ledger.Scratch("copied.out")).Expect();
        await Waiting.UntilAsync(() => _ledger.Bml("verify", "copied").ExitCode == 0);
        // What the first one had come to is the beginning of the image, and the second one wrote all of it.
        var first = _ledger.Json("changed", "copied", "--from", "start", "--to", "checkpoint:cut");
        var (offset, length) = Assert.Single(Extents.Of(first));
        Assert.True(first.GetProperty("exact").GetBoolean());
        Assert.Equal(0, offset);
        Assert.InRange(length, 1, data.Length / 2);
        var second = _ledger.Json("changed", "copied", "--from", "checkpoint:cut");
        Assert.True(second.GetProperty("exact").GetBoolean());
        Assert.Equal([(0, data.Length)], Extents.Of(second));
        AssertEachWriteOnce("copied", length + data.Length);
    }

    [Fact]
    public async Task The_children_survive_a_kill_9_of_serve_and_the_next_one_adopts_them()
    {
        _ledger.Json("volume", "create", "adopted", "--size", "64M");
        using var client = new TortureClient(_ledger.Export("adopted"), 0);
        await client.MoreAsync(100);
        var (agent, server, postgres) = (_ledger.Pid("agent"), _ledger.Pid("server"), _ledger.Pid("postgres"));
        var ready = _ledger.ReadyLine;

        _ledger.Kill("serve");
        await client.MoreAsync(100);
        Assert.True(Posix.IsAlive(server));
        await _ledger.ServeAsync();
        await client.MoreAsync(100);

        Assert.Equal(0, client.Errors);
        Assert.Equal((agent, postgres), (_ledger.Pid("agent"), _ledger.Pid("postgres")));
        Assert.NotEqual(server, _ledger.Pid("server"));
        Assert.False(Posix.IsAlive(server));
        Assert.Equal(Nbd(ready), Nbd(_ledger.ReadyLine));
    }

    [Fact]
    public async Task Sigterm_under_load_ends_everything_in_order_and_every_acknowledged_write_is_there_afterwards()
    {
        _ledger.Json("volume", "create", "drained", "--size", "64M");
        using var client = new TortureClient(_ledger.Export("drained"), 0);
        await client.MoreAsync(500);
        int[] children = [_ledger.Pid("agent"), _ledger.Pid("server"), _ledger.Pid("postgres")];

        Assert.Equal(0, await _ledger.StopAsync());
        Assert.DoesNotContain(children, Posix.IsAlive);
        await _ledger.ServeAsync("--nbd", $"nbd+unix:///?socket={_ledger.NbdSocket}", "--nbd", "nbd://127.0.0.1:0");
        await client.MoreAsync(50);

        var (acknowledged, unanswered) = await client.PauseAsync();
        var recorded = Recorded("drained");
        Assert.All(acknowledged, s => Assert.Equal(1, recorded.GetValueOrDefault(s)));
        Assert.All(recorded, r => Assert.Equal(1, r.Value));
        Assert.InRange(recorded.Count, acknowledged.Count, acknowledged.Count + unanswered.Count);
    }

    // Method: PostgreSQL hangs while the server meets a new agent, so that clients write between its hello and the moment
    // when their writes are compared with what it said then.
    [Fact]
    public async Task What_clients_write_while_agent_and_ledger_meet_is_recorded_and_no_loss_is_invented()
    {
        _ledger.Json("volume", "create", "met", "--size", "64M");
        using var client = new TortureClient(_ledger.Export("met"), 0);
        await client.MoreAsync(100);
        _ledger.FreezePostgres();
        try
        {
            var agent = _ledger.Pid("agent");
            _ledger.Kill("agent");
            await Waiting.UntilAsync(() => !Posix.IsAlive(agent));
            await client.MoreAsync(2000);
        }
        finally
        {
            _ledger.ThawPostgres();
        }

        await Waiting.UntilAsync(() => _ledger.Bml("verify", "met").ExitCode == 0);
        await client.MoreAsync(100);

        Assert.Equal(1, client.Errors);
        Assert.Empty(_ledger.Json("history", "met", "--type", "TrackingLost").GetProperty("events").EnumerateArray());
        var (acknowledged, _) = await client.PauseAsync();
        var recorded = Recorded("met");
        Assert.All(acknowledged, s => Assert.Equal(1, recorded.GetValueOrDefault(s)));
    }

    private static IEnumerable<string> Nbd(string readyLine) =>
        readyLine.Split(' ').Where(w => w.StartsWith("nbd=", StringComparison.Ordinal));

    private static async Task TellAsync(Process qemu, string command)
    {
        await qemu.StandardInput.WriteLineAsync(command);
        await qemu.StandardInput.FlushAsync();
    }

    /// <summary>Every LSN has one write, and together they have so many bytes: nothing is lost, doubled or invented.</summary>
    private void AssertEachWriteOnce(string volume, long bytes)
    {
        var blame = _ledger.Json("blame", volume, "--offset", "0", "--length", "64M", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        var writes = blame.GetProperty("writes").EnumerateArray().ToList();
        Assert.Equal(
            Enumerable.Range(1, (int)LastLsn(volume)).Select(lsn => (long)lsn), writes.Select(w => w.GetProperty("lsn").GetInt64()).Order());
        Assert.Equal(bytes, writes.Sum(w => w.GetProperty("length").GetInt64()));
    }

    private long LastLsn(string volume) =>
        _ledger.Json("volume", "show", volume).GetProperty("lsn").GetProperty("last").GetInt64();

    private Dictionary<long, int> Recorded(string volume)
    {
        var blame = _ledger.Json("blame", volume, "--offset", "0", "--length", "64M", "--limit", "1000000");
        Assert.True(blame.GetProperty("complete").GetBoolean());
        return blame.GetProperty("writes").EnumerateArray()
            .CountBy(w => w.GetProperty("offset").GetInt64() / TortureClient.Sector)
            .ToDictionary();
    }
}
