using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Bad input names the thing, the value and the way out, exits as the spec says, and changes
/// nothing.</summary>
public sealed class BadInputTests(ServedVolume served) : IClassFixture<ServedVolume>
{
    private readonly Ledger _ledger = served.Ledger;

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
        { 64, "file:", "volume add w --backend file:" },
        { 64, "sometimes", "volume create w --size 1M --durability sometimes" },
        { 64, "panic", "volume create w --size 1M --when-full panic" },
        { 64, "9999999P", "volume create w --size 9999999P" },
        { 64, "2P", "volume create w --size 1M --journal 2P" },
        { 64, "hexdump", "changed v --from start --format hexdump" },
        { 64, "hexdump", "replay v --at now --format hexdump" },
        { 64, "offset", "blame v --offset 2M" },
        { 64, "limit", "blame v --offset 0 --limit 0" },
        { 64, "NoSuchEvent", "history v --type NoSuchEvent" },
        { 10, "Slice 1 of bitmap 'b0'", "changed v --from slice:b0/1" },
        { 10, "nothing", "projection rebuild nothing" },
        { 64, "checkpoint create", "checkpoint create v" },
    };

    [Fact]
    public void Each_refused_command_exits_as_the_spec_says_names_the_value_and_changes_nothing()
    {
        var (history, volumes) = (History(), Volumes());
        foreach (var row in Refused)
        {
            var (exitCode, named, command) = row.Data;
            var result = _ledger.Bml([.. command.Split(' '), "--json"]);

            Assert.True(
                result.ExitCode == exitCode, $"bml {command}: exit {result.ExitCode}, not {exitCode}\n{result.Error}");
            Assert.Contains(named, Message(result), StringComparison.Ordinal);
            Assert.Empty(result.Output);
        }

        Assert.Equal(history, History());
        Assert.Equal(volumes, Volumes());
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
        _ledger.Json("volume", "add", "locked", "--backend", $"file:{image}");
        Refuses(1, "locked.img", "volume", "add", "x", "--backend", $"file:{image}");
        var blocked = Tool.Run("qemu-io", "-f", "raw", "-c", "write 0 512", image);
        Assert.Contains("Failed to get \"write\" lock", blocked.Error, StringComparison.Ordinal);
        _ledger.Json("volume", "remove", "locked");
    }

    [Fact]
    public void What_is_no_image_is_refused_at_once_whatever_it_is()
    {
        var (empty, pipe, link) = (_ledger.Scratch("empty.img"), _ledger.Scratch("pipe"), _ledger.Scratch("dangling"));
        File.WriteAllBytes(empty, []);
        Tool.Run("mkfifo", pipe).Expect();
        File.CreateSymbolicLink(link, _ledger.Scratch("nothing"));
        var before = Volumes();

        Refuses(1, "is empty", "volume", "add", "w", "--backend", $"file:{empty}");
        Refuses(1, $"'{pipe}': it is no file", "volume", "add", "w", "--backend", $"file:{pipe}");
        Refuses(1, "'/dev/null': it is no file", "volume", "add", "w", "--backend", "device:/dev/null");
        Refuses(1, $"'{_ledger.NbdSocket}': it is no file", "volume", "add", "w", "--backend", $"file:{_ledger.NbdSocket}");
        Refuses(1, link, "volume", "add", "w", "--backend", $"file:{link}");
        Refuses(1, empty, "volume", "create", "w", "--size", "1M", "--file", empty);
        Refuses(1, "/nowhere", "volume", "create", "w", "--size", "1M", "--file", "/proc/nowhere/w.img");
        Assert.Equal(before, Volumes());
    }

    [Fact]
    public void A_device_that_cannot_be_written_is_refused_until_it_is_served_read_only()
    {
        var image = _ledger.Scratch("device.img");
        Tool.Run("truncate", "-s", "1M", image).Expect();
        var device = Tool.Run("losetup", "--find", "--show", image).Expect().Output.Trim();
        try
        {
            Tool.Run("blockdev", "--setro", device).Expect();
            Refuses(1, $"'{device}' for writing", "volume", "add", "device", "--backend", $"device:{device}");
            _ledger.Json("volume", "add", "device", "--backend", $"device:{device}", "--read-only");
            Tool.Run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 512", _ledger.Export("device")).Expect();
            _ledger.Json("volume", "remove", "device");
            Tool.Run("blockdev", "--setrw", device).Expect();
            _ledger.Json("volume", "add", "device", "--backend", $"device:{device}");
            Assert.Equal(1 << 20, _ledger.Json("volume", "show", "device").GetProperty("size").GetInt64());
            NbdShell.Write(_ledger.Export("device"), [(4096, 512)]);
            Assert.Equal(65_536, _ledger.Json("changed", "device", "--from", "start").GetProperty("changed_bytes").GetInt64());
            _ledger.Json("volume", "remove", "device");
        }
        finally
        {
            Tool.Run("losetup", "--detach", device).Expect();
        }
    }

    [Fact]
    public void A_data_directory_that_is_none_is_refused_and_stays_as_it_was()
    {
        var (file, foreign) = (_ledger.Scratch("file"), Directory.CreateDirectory(_ledger.Scratch("foreign")).FullName);
        File.WriteAllText(file, "mine");
        File.WriteAllText(Path.Combine(foreign, "thesis.txt"), "mine too");
        var mode = File.GetUnixFileMode(foreign);

        foreach (var (exitCode, directory, said) in new[]
        {
            (1, file, "it is a file"), (1, foreign, "'thesis.txt'"), (1, "/proc/nowhere", "/proc/nowhere"),
            (64, $"/tmp/{new string('x', 120)}", "shorter data directory"),
        })
        {
            var result = Tool.Run(Path.Combine(Repository.Programs, "bml"), "serve", "--http", "127.0.0.1:0", "--data-dir", directory);
            Assert.True(result.ExitCode == exitCode, $"{directory}: exit {result.ExitCode}\n{result.Error}");
            Assert.Contains(said, result.Error, StringComparison.Ordinal);
        }

        Assert.Equal("mine", File.ReadAllText(file));
        Assert.Equal(["thesis.txt"], Directory.GetFileSystemEntries(foreign).Select(Path.GetFileName));
        Assert.Equal(mode, File.GetUnixFileMode(foreign));
    }

    [Fact]
    public async Task A_listener_replaces_no_file_and_no_living_socket()
    {
        using var scratch = new ScratchDirectory();
        File.WriteAllText(scratch["disk.img"], "data");
        foreach (var path in new[] { scratch["disk.img"], _ledger.NbdSocket })
        {
            var result = await Tool.RunAsync(
                Path.Combine(Repository.Programs, "bml"),
                ["serve", "--data-dir", scratch["d"], "--http", "127.0.0.1:0", "--nbd", $"nbd+unix:///?socket={path}"]);

            Assert.Equal(1, result.ExitCode);
            Assert.Contains($"Cannot listen on '{path}'", result.Error, StringComparison.Ordinal);
        }

        Assert.Equal("data", File.ReadAllText(scratch["disk.img"]));
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Theory]
    [InlineData("--http", "nonsense", "is no HOST:PORT")]
    [InlineData("--http", "0.0.0.0:0", "TLS")]
    [InlineData("--nbd", "http://127.0.0.1:1", "is no NBD URI")]
    [InlineData("--nbd", "nbd+unix:///x", "names no socket")]
    [InlineData("--journal-quota", "much", "is no size")]
    public void What_serve_cannot_do_it_says_as_usage_and_leaves_nothing_running(string option, string value, string said)
    {
        using var scratch = new ScratchDirectory();
        string[] http = option == "--http" ? [] : ["--http", "127.0.0.1:0"];

        var result = Tool.Run(
            Path.Combine(Repository.Programs, "bml"), ["serve", "--data-dir", scratch["d"], option, value, .. http, "--json"]);

        Assert.True(result.ExitCode == 64, $"exit {result.ExitCode}\n{result.Error}");
        var message = Message(result);
        Assert.Contains(value, message, StringComparison.Ordinal);
        Assert.Contains(said, message, StringComparison.Ordinal);
        foreach (var pidFile in Directory.GetFiles(scratch.Path, "*.pid", SearchOption.AllDirectories).Where(
            f => f.Contains("/run/", StringComparison.Ordinal)))
            Assert.False(int.TryParse(File.ReadAllText(pidFile), out var pid) && Posix.IsAlive(pid), pidFile);
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

    [Fact]
    public async Task A_token_that_a_power_loss_left_empty_or_zeroed_is_made_anew()
    {
        await using var ledger = await Ledger.StartAsync();
        var path = Path.Combine(ledger.DataDirectory, "run", "http.token");
        var token = await File.ReadAllTextAsync(path);
        foreach (var left in new[] { "", new string('\0', 64) })
        {
            await ledger.StopAsync();
            await File.WriteAllTextAsync(path, left);
            await ledger.ServeAsync();

            var made = await File.ReadAllTextAsync(path);
            Assert.Matches("^[0-9a-f]{64}$", made);
            Assert.NotEqual(token, made);
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        }
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

    private string Volumes() => string.Join(
        ' ', _ledger.Json("volume", "list").GetProperty("volumes").EnumerateArray().Select(v => v.GetProperty("name").GetString()));

    private void Refuses(int exitCode, string named, params string[] command)
    {
        var result = _ledger.Bml([.. command, "--json"]);
        Assert.True(result.ExitCode == exitCode, $"{result.Command}: exit {result.ExitCode}\n{result.Error}");
        Assert.Contains(named, Message(result), StringComparison.Ordinal);
    }

    /// <summary>The message is QEMU's where QEMU has one; then the hint names the value.</summary>
    private static string Message(ToolResult result)
    {
        using var line = JsonDocument.Parse(result.Error.Trim());
        var error = line.RootElement.GetProperty("error");
        Assert.NotEmpty(error.GetProperty("code").GetString()!);
        return $"{error.GetProperty("message").GetString()} {(error.TryGetProperty("hint", out var hint) ? hint.GetString() : "")}";
    }
}
