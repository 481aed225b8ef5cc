using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Under systemd: readiness is told, the NBD socket is handed over, the units are sound.</summary>
public sealed class ServiceManagerTests
{
    // Method: systemd's own tool holds the listening socket and starts the agent at the first client; a socket of the test
    // takes the place of systemd's notify socket. bml serve runs beside the agent and leaves it alone when it ends.
    [Fact]
    public async Task Agent_and_serve_say_when_they_are_ready_and_the_agent_serves_on_a_socket_that_it_was_given()
    {
        using var scratch = new ScratchDirectory();
        using var agentNotices = new Notices(scratch["an"]);
        using var serveNotices = new Notices(scratch["sn"]);
        var data = scratch["d"];
        var uri = $"nbd+unix:///v?socket={scratch["nbd"]}";
        using var agent = Tool.Start("systemd-socket-activate",
        [
            "-l", scratch["nbd"], "-E", $"NOTIFY_SOCKET={agentNotices.Path}",
            Path.Combine(Repository.Programs, "bml-agent"), "--data-dir", data,
        ]);
        using var serve = Tool.Start("env",
        [
            $"NOTIFY_SOCKET={serveNotices.Path}", Path.Combine(Repository.Programs, "bml"),
            "serve", "--data-dir", data, "--http", "127.0.0.1:0", "--external-agent",
        ]);
        try
        {
            await ConnectAsync(scratch["nbd"]);
            await agentNotices.UntilAsync("READY=1");
            await serveNotices.UntilAsync("READY=1");
            Assert.Equal(agent.Id, int.Parse(File.ReadAllText(Path.Combine(data, "run", "agent.pid"))));
            Bml(data, "volume", "create", "v", "--size", "1M");
            NbdShell.Write(uri, [(0, 512)]);
            using var shown = JsonDocument.Parse(Bml(data, "volume", "show", "v", "--json").Output);
            Assert.Equal(uri, shown.RootElement.GetProperty("export").GetString());

            Posix.Signal(serve.Id, Posix.SigTerm);
            await serveNotices.UntilAsync("STOPPING=1");
            await EndedAsync(serve);
            NbdShell.Write(uri, [(512, 512)]);
            Posix.Signal(agent.Id, Posix.SigTerm);
            await agentNotices.UntilAsync("STOPPING=1");
            await EndedAsync(agent);
        }
        finally
        {
            foreach (var process in new[] { serve, agent }.Where(p => !p.HasExited))
            {
                Posix.Signal(process.Id, Posix.SigTerm);
                await process.WaitForExitAsync();
            }
        }

        Assert.Equal((0, 0), (serve.ExitCode, agent.ExitCode));
    }

    // Method: a systemd is booted in namespaces of its own with the units as they are shipped. Whatever is killed is started
    // again, and the agent serves on over the same socket while the rest is killed, started again and stopped.
    [Fact(Skip = Mounts.WhyNoBoot, SkipUnless = nameof(Mounts.Boot), SkipType = typeof(Mounts))]
    public async Task Under_a_booted_systemd_the_units_start_sandboxed_come_back_after_kills_and_stop_in_order()
    {
        using var machine = await BootedSystemd.StartAsync("bml.service");
        machine.Bml("volume", "create", "v", "--size", "1M").Expect();
        WriteIn(machine, 0);
        var (agent, serve) = (machine.Show("bml-agent.service", "MainPID"), machine.Show("bml.service", "MainPID"));

        machine.Run("systemctl", "kill", "--signal=KILL", "bml-agent.service").Expect();
        // The socket is systemd's: a client that comes now waits for the next agent.
        WriteIn(machine, 512);
        Assert.NotEqual(agent, machine.Show("bml-agent.service", "MainPID"));
        agent = machine.Show("bml-agent.service", "MainPID");
        machine.Run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "bml.service").Expect();
        WriteIn(machine, 1024);
        await machine.UntilAsync(() => machine.Show("bml.service", "MainPID") != serve && machine.IsActive("bml.service"));
        await machine.UntilAsync(() => machine.Bml("verify", "v").ExitCode == 0);
        machine.Run("systemctl", "stop", "bml.service").Expect();
        WriteIn(machine, 1536);
        machine.Run("systemctl", "start", "bml.service").Expect();
        await machine.UntilAsync(() => machine.Bml("verify", "v").ExitCode == 0);

        using var blame = JsonDocument.Parse(machine.Bml("blame", "v", "--offset", "0", "--length", "1M", "--json").Expect().Output);
        Assert.Equal([1536, 1024, 512, 0], blame.RootElement.GetProperty("writes").EnumerateArray().Select(w => w.GetProperty("offset").GetInt64()));
        Assert.Equal(agent, machine.Show("bml-agent.service", "MainPID"));
        machine.Run("systemctl", "stop", "bml.service", "bml-agent.service").Expect();
        Assert.Equal(("success", "success"), (machine.Show("bml.service", "Result"), machine.Show("bml-agent.service", "Result")));
    }

    private static void WriteIn(BootedSystemd machine, long offset) => machine.Run(
        "nbdsh", "-u", "nbd+unix:///v?socket=/run/bitmapledger/nbd.sock", "-c", $"h.pwrite(b'x' * 512, {offset}); h.flush()").Expect();

    [Fact]
    public void Systemd_finds_nothing_wrong_with_the_units()
    {
        using var scratch = new ScratchDirectory();
        var units = Directory.GetFiles(Path.Combine(Repository.Root, "tools", "packaging", "systemd"));
        Assert.Equal(3, units.Length);
        foreach (var unit in units)
        {
            // Where the programs are here; the account need not exist on this machine.
            var text = File.ReadAllText(unit).Replace("/opt/bitmapledger", Repository.Programs, StringComparison.Ordinal);
            File.WriteAllText(scratch[Path.GetFileName(unit)], text);
        }

        var verified = Tool.Run("systemd-analyze", ["verify", "--man=no", .. units.Select(u => scratch[Path.GetFileName(u)])]);

        Assert.Equal("", verified.Expect().Error);
    }

    private static ToolResult Bml(string data, params IEnumerable<string> arguments) =>
        Tool.Run(Path.Combine(Repository.Programs, "bml"), [.. arguments, "--data-dir", data]).Expect();

    private static async Task EndedAsync(Process process)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        await process.WaitForExitAsync(limit.Token);
    }

    /// <summary>The first client wakes the agent up.</summary>
    private static async Task ConnectAsync(string path)
    {
        var started = Stopwatch.StartNew();
        while (true)
        {
            using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await client.ConnectAsync(new UnixDomainSocketEndPoint(path));
                await client.ReceiveAsync(new byte[8]);
                return;
            }
            catch (SocketException) when (started.Elapsed < TimeSpan.FromMinutes(2))
            {
                await Task.Delay(20);
            }
        }
    }

    /// <summary>A notify socket, and everything that came over it.</summary>
    private sealed class Notices : IDisposable
    {
        private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        private readonly ConcurrentQueue<string> _lines = new();

        public Notices(string path)
        {
            Path = path;
            _socket.Bind(new UnixDomainSocketEndPoint(path));
            _ = ReceiveAsync();
        }

        public string Path { get; }

        public async Task UntilAsync(string line)
        {
            var started = Stopwatch.StartNew();
            while (!_lines.Contains(line))
            {
                Assert.True(started.Elapsed < TimeSpan.FromMinutes(3), $"No {line}; there came: {string.Join(", ", _lines)}");
                await Task.Delay(20);
            }
        }

        public void Dispose() => _socket.Dispose();

        private async Task ReceiveAsync()
        {
            var buffer = new byte[4096];
            try
            {
                while (true)
                {
                    var count = await _socket.ReceiveAsync(buffer);
                    foreach (var line in Encoding.UTF8.GetString(buffer, 0, count).Split('\n'))
                        _lines.Enqueue(line);
                }
            }
            catch (Exception closed) when (closed is SocketException or ObjectDisposedException)
            {
                // The test is over.
            }
        }
    }
}
