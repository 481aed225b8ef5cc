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
