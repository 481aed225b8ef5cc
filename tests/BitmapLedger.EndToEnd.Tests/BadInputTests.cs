using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Bad input names the thing, the value and the way out, exits as the spec says, and changes
/// nothing.</summary>
public sealed class BadInputTests : IAsyncLifetime
{
    private Ledger _ledger = null!;

    public static TheoryData<int, string, string> Refused => new()
    {
        { 10, "nope", "changed nope --from start" },
        { 10, "nope", "volume show nope" },
        { 10, "nope", "volume remove nope" },
        { 10, "nope", "history nope" },
        { 10, "Dirty bitmap 'zz' not found", "bitmap remove v zz" },
        { 10, "zz", "bitmap show v zz" },
        { 10, "zz", "replay v --at now --bitmap zz" },
        { 10, "zz", "changed v --from checkpoint:zz" },
        { 10, "zz", "checkpoint delete v zz" },
        { 1, "Bitmap already exists: b0", "bitmap add v b0" },
        { 1, "v", "volume create v --size 1M" },
        { 1, "c", "checkpoint create v c" },
        { 64, "0", "volume create w --size 0" },
        { 64, "-5", "volume create w --size -5" },
        { 64, "1X", "volume create w --size 1X" },
        { 64, ".w", "volume create .w --size 1M" },
        { 64, "a/b", "volume create a/b --size 1M" },
        { 64, "1000", "bitmap add v b1 --granularity 1000" },
        { 64, "256", "bitmap add v b1 --granularity 256" },
        { 64, "8589934592", "bitmap add v b1 --granularity 8G" },
        { 64, "yesterday", "changed v --from yesterday" },
        { 64, "event:999", "changed v --from start --to event:999" },
        { 64, "lsn:999", "changed v --from start --to lsn:999" },
        { 64, "2999-01-01T00:00:00Z", "replay v --at 2999-01-01T00:00:00Z" },
        { 64, "from", "changed v --from now --to start" },
        { 64, "a..b", "checkpoint create v a..b" },
        { 13, "kept", "changed v --from 2001-01-01T00:00:00Z" },
        { 64, "nonsense", "nonsense" },
        { 64, "bogus", "volume add w --backend bogus:/x" },
        { 1, "power", "volume create w --size 1M --durability power" },
    };

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "1M");
        _ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(_ledger.Export("v"), [(0, 512)]);
        _ledger.Json("checkpoint", "create", "v", "c");
    }

    public async ValueTask DisposeAsync() => await _ledger.DisposeAsync();

    [Fact]
    public void Each_refused_command_exits_as_the_spec_says_names_the_value_and_changes_nothing()
    {
        var before = History();
        foreach (var row in Refused)
        {
            var (exitCode, named, command) = row.Data;
            var result = _ledger.Bml([.. command.Split(' '), "--json"]);

            Assert.True(
                result.ExitCode == exitCode, $"bml {command}: exit {result.ExitCode}, not {exitCode}\n{result.Error}");
            using var error = JsonDocument.Parse(result.Error.Trim());
            var said = error.RootElement.GetProperty("error");
            // The message is QEMU's where QEMU has one; then the hint names the value.
            var hint = said.TryGetProperty("hint", out var more) ? more.GetString() : "";
            Assert.Contains(named, $"{said.GetProperty("message").GetString()} {hint}", StringComparison.Ordinal);
            Assert.NotEmpty(said.GetProperty("code").GetString()!);
            Assert.Empty(result.Output);
        }

        Assert.Equal(before, History());
        Assert.Equal(["v"], _ledger.Json(
            "volume", "list").GetProperty("volumes").EnumerateArray().Select(v => v.GetProperty("name").GetString()!));
    }

    [Fact]
    public async Task An_image_that_cannot_be_used_is_refused_by_its_path()
    {
        var image = _ledger.Scratch("locked.img");
        Tool.Run("truncate", "-s", "1M", image).Expect();
        using var holder = Tool.Start("qemu-io", ["-f", "raw", image], withInput: true);
        await holder.StandardInput.WriteLineAsync("read 0 512");
        await holder.StandardInput.FlushAsync();
        await holder.StandardOutput.ReadLineAsync();

        Refuses(1, "missing.img", "volume", "add", "w", "--backend", $"file:{_ledger.Scratch("missing.img")}");
        Refuses(
            1, "directory", "volume", "add", "w", "--backend",
            $"file:{Directory.CreateDirectory(_ledger.Scratch("dir")).FullName}");
        Refuses(1, "locked.img", "volume", "add", "w", "--backend", $"file:{image}");
        await holder.StandardInput.WriteLineAsync("quit");
        await holder.WaitForExitAsync();
        _ledger.Json("volume", "add", "w", "--backend", $"file:{image}");
        Refuses(1, "locked.img", "volume", "add", "x", "--backend", $"file:{image}");
        var blocked = Tool.Run("qemu-io", "-f", "raw", "-c", "write 0 512", image);
        Assert.Contains("Failed to get \"write\" lock", blocked.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_server_on_the_same_data_dir_is_told_who_holds_it()
    {
        var second = _ledger.Bml("serve", "--http", "127.0.0.1:0");

        Assert.Equal(11, second.ExitCode);
        Assert.Contains($"{_ledger.ServePid}", second.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_in_use_is_named_and_nothing_is_left_running()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        using var scratch = new ScratchDirectory();

        var http = await Tool.RunAsync(Path.Combine(
            Repository.Programs, "bml"), ["serve", "--data-dir", scratch["d"], "--http", $"127.0.0.1:{port}"]);
        var nbd = await Tool.RunAsync(
            Path.Combine(Repository.Programs, "bml"),
            ["serve", "--data-dir", scratch["e"], "--http", "127.0.0.1:0", "--nbd", $"nbd://127.0.0.1:{port}"]);

        foreach (var result in new[] { http, nbd })
        {
            Assert.Equal(1, result.ExitCode);
            Assert.Contains($"{port}", result.Error, StringComparison.Ordinal);
        }

        foreach (var pidFile in Directory.GetFiles(scratch.Path, "*.pid", SearchOption.AllDirectories).Where(
            f => f.Contains("/run/", StringComparison.Ordinal)))
            Assert.False(Posix.IsAlive(int.Parse(await File.ReadAllTextAsync(pidFile))), pidFile);
    }

    [Theory]
    [InlineData("nbd.sock")]
    [InlineData("api.sock")]
    [InlineData("control.sock")]
    public void Garbage_on_a_socket_hurts_nobody_else(string name)
    {
        var random = new Random(7);
        for (var attempt = 0; attempt < 20; attempt++)
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Connect(new UnixDomainSocketEndPoint(Path.Combine(_ledger.DataDirectory, "run", name)));
            var garbage = new byte[random.Next(1, 100_000)];
            random.NextBytes(garbage);
            try
            {
                socket.Send(garbage);
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (SocketException)
            {
                // The other end had enough; that is its right.
            }
        }

        NbdShell.Write(_ledger.Export("v"), [(4096, 512)]);
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void Sockets_and_directories_are_private_to_the_user()
    {
        foreach (var path in new[] { "run/nbd.sock", "run/api.sock", "run/control.sock", "run/http.token" })
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite,
                File.GetUnixFileMode(Path.Combine(_ledger.DataDirectory, path)));
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
            File.GetUnixFileMode(_ledger.DataDirectory));
    }

    private string History() => _ledger.Json("history", "v").GetRawText();

    private void Refuses(int exitCode, string named, params string[] command)
    {
        var result = _ledger.Bml([.. command, "--json"]);
        Assert.True(result.ExitCode == exitCode, $"{result.Command}: exit {result.ExitCode}\n{result.Error}");
        Assert.Contains(named, result.Error, StringComparison.Ordinal);
    }
}
