using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>The command line against a running ledger, as spec and README have it.</summary>
public sealed class CliTests(ServedVolume served) : IClassFixture<ServedVolume>
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);
    private readonly Ledger _ledger = served.Ledger;

    public static TheoryData<string, string> Shapes => new()
    {
        { "changed v --from start", "volume from to granularity size exact gaps changed_bytes extents" },
        { "changed v --from start --format blocks", "volume from to granularity size exact gaps changed_bytes blocks" },
        { "changed v --from start --format bitmap", "volume from to granularity size exact gaps changed_bytes bitmap" },
        { "replay v --at now", "volume at exact gaps bitmaps" },
        { "bitmap show v b0", "name granularity recording persistent busy inconsistent count sha256 extents" },
        { "history v", "events" },
        { "blame v --offset 0", "writes exact gaps complete" },
        { "verify v", "volume at equal bitmaps" },
        { "verify", "equal volumes" },
        { "check", "ok volumes" },
        { "projection status", "projections" },
        { "projection step v bitmap-bits --from start", "volume projection from to steps" },
        { "version", "version" },
        { "db status", "version expected current" },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void An_answer_has_the_members_of_the_spec(string line, string members) => Assert.Equal(
        members.Split(' '), _ledger.Json(line.Split(' ')).EnumerateObject().Select(m => m.Name));

    [Fact]
    public void Elements_of_answers_have_the_members_of_the_spec()
    {
        Assert.Equal(
            "asked event lsn time".Split(' '), Members(_ledger.Json("changed", "v", "--from", "start").GetProperty("from")));
        Assert.Equal(
            "lsn time offset length kind client event held_by".Split(' '),
            Members(_ledger.Json("blame", "v", "--offset", "0").GetProperty("writes")[0]));
        Assert.Equal(
            "name live projected replayed".Split(' '), Members(_ledger.Json("verify", "v").GetProperty("bitmaps")[0]));
        var volume = _ledger.Json("volume", "show", "v");
        Assert.Empty("name size backend export state durability lsn unshipped_bytes bitmaps checkpoints".Split(' ').Except(Members(volume)));
        Assert.Equal(["last", "shipped"], Members(volume.GetProperty("lsn")));
        var events = _ledger.Json("history", "v").GetProperty("events").EnumerateArray().ToList();
        var writes = events.First(e => e.GetProperty("type").GetString() == "WritesRecorded");
        Assert.Empty("event type time lsn writes bytes data".Split(' ').Except(Members(writes)));
        var added = events.First(e => e.GetProperty("type").GetString() == "BitmapAdded");
        Assert.Empty("event type time lsn actor client command_id data".Split(' ').Except(Members(added)));
        Assert.Equal(JsonValueKind.Number, added.GetProperty("lsn").ValueKind);
    }

    [Theory]
    [InlineData("history v")]
    [InlineData("blame v --offset 0")]
    [InlineData("changed v --from start")]
    [InlineData("changed v --from start --format blocks")]
    [InlineData("replay v --at now")]
    [InlineData("volume list")]
    [InlineData("volume show v")]
    [InlineData("bitmap list v")]
    [InlineData("checkpoint list v")]
    [InlineData("verify")]
    [InlineData("check")]
    [InlineData("projection status")]
    [InlineData("projection step v union-tree --from start")]
    [InlineData("projection step v volume-state --from start")]
    public void A_stream_ends_with_the_line_that_says_it_is_complete(string line)
    {
        var lines = _ledger.Bml([.. line.Split(' '), "--jsonl"]).Expect().Output.TrimEnd().Split('\n')
            .Select(l => JsonDocument.Parse(l).RootElement).ToList();

        Assert.True(lines.Count >= 2, $"{lines.Count} lines");
        Assert.Equal("end", lines[^1].GetProperty("type").GetString());
        Assert.True(lines[^1].GetProperty("complete").GetBoolean());
        Assert.All(lines, l => Assert.Equal(JsonValueKind.Object, l.ValueKind));
    }

    [Fact]
    public async Task History_follows_what_happens_until_it_is_interrupted()
    {
        const int interrupt = 2;
        _ledger.Json("volume", "create", "followed", "--size", "1M");
        using var follow = Tool.Start(
            Path.Combine(Repository.Programs, "bml"), ["history", "followed", "--follow", "--jsonl", "--data-dir", _ledger.DataDirectory]);
        using var limit = new CancellationTokenSource(_limit);
        Assert.Contains("VolumeCreated", await follow.StandardOutput.ReadLineAsync(limit.Token), StringComparison.Ordinal);

        _ledger.Json("bitmap", "add", "followed", "b1");
        Assert.Contains("BitmapAdded", await follow.StandardOutput.ReadLineAsync(limit.Token), StringComparison.Ordinal);
        NbdShell.Write(_ledger.Export("followed"), [(0, 512)]);
        Assert.Contains("WritesRecorded", await follow.StandardOutput.ReadLineAsync(limit.Token), StringComparison.Ordinal);

        Posix.Signal(follow.Id, interrupt);
        await follow.WaitForExitAsync(limit.Token);
        Assert.Equal(130, follow.ExitCode);
        Assert.Equal("", await follow.StandardOutput.ReadToEndAsync(limit.Token));
    }

    [Fact]
    public async Task History_followed_ends_with_its_volume()
    {
        _ledger.Json("volume", "create", "gone", "--size", "1M");
        using var follow = Tool.Start(
            Path.Combine(Repository.Programs, "bml"), ["history", "gone", "--follow", "--jsonl", "--data-dir", _ledger.DataDirectory]);
        using var limit = new CancellationTokenSource(_limit);
        await follow.StandardOutput.ReadLineAsync(limit.Token);

        _ledger.Json("volume", "remove", "gone");
        var rest = (await follow.StandardOutput.ReadToEndAsync(limit.Token)).TrimEnd().Split('\n');
        await follow.WaitForExitAsync(limit.Token);

        Assert.Contains("VolumeRemoved", rest[^2], StringComparison.Ordinal);
        Assert.Contains("""{"type":"end","complete":true""", rest[^1], StringComparison.Ordinal);
        Assert.Equal(0, follow.ExitCode);
    }

    [Fact]
    public void A_new_volume_is_whole_sectors_as_qemu_makes_it_so_that_it_may_be_resized_to_what_it_is()
    {
        _ledger.Json("volume", "create", "odd", "--size", "1000000");

        Assert.Equal(1_000_448, _ledger.Json("volume", "show", "odd").GetProperty("size").GetInt64());
        Assert.Equal("1000448", Tool.Run("nbdinfo", "--size", _ledger.Export("odd")).Expect().Output.Trim());
        _ledger.Json("volume", "resize", "odd", "--size", "1000448");
        _ledger.Bml("volume", "resize", "odd", "--size", "1000000").Expect(64);
        _ledger.Json("volume", "remove", "odd");
    }

    [Fact]
    public void Maps_and_totals_are_nbdinfos_to_the_letter()
    {
        _ledger.Json("volume", "create", "mapped", "--size", "1000000");
        _ledger.Json("bitmap", "add", "mapped", "m", "--granularity", "4K");
        NbdShell.Write(_ledger.Export("mapped"), [(0, 512), (40_960, 8192), (999_000, 1000)]);
        string NbdInfo(params string[] options) =>
            Tool.Run("nbdinfo", ["--map=qemu:dirty-bitmap:m", .. options, _ledger.Export("mapped")]).Expect().Output;
        string Changed(string option) =>
            _ledger.Bml("changed", "mapped", "--from", "start", "--granularity", "4K", option).Expect().Output;

        Assert.Equal(NbdInfo(), Changed("--map"));
        Assert.Equal(NbdInfo("--totals"), Changed("--totals"));
        Assert.EndsWith(
            NbdInfo(), _ledger.Bml("replay", "mapped", "--at", "now", "--bitmap", "m", "--map").Expect().Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("a/b")]
    [InlineData("%2F%")]
    [InlineData("a b?c#d&e=f+g")]
    [InlineData("ü→🙂")]
    [InlineData("@x")]
    public void A_bitmap_may_have_any_name_and_is_meant_by_it(string name)
    {
        _ledger.Json("bitmap", "add", "v", name);

        Assert.Equal(name, _ledger.Json("bitmap", "show", "v", name).GetProperty("name").GetString());
        _ledger.Json("bitmap", "disable", "v", name);
        _ledger.Json("bitmap", "clear", "v", name);
        Assert.Equal(10, _ledger.Bml("checkpoint", "delete", "v", name).ExitCode);
        _ledger.Json("bitmap", "remove", "v", name);

        Assert.Equal(10, _ledger.Bml("bitmap", "show", "v", name).ExitCode);
        Assert.Equal("v", _ledger.Json("volume", "show", "v").GetProperty("name").GetString());
    }

    [Fact]
    public void A_checkpoint_may_have_a_slash_in_its_name()
    {
        _ledger.Json("checkpoint", "create", "v", "2026/11: nightly");

        Assert.Equal(0, _ledger.Json("changed", "v", "--from", "checkpoint:2026/11: nightly").GetProperty("changed_bytes").GetInt64());
        _ledger.Json("checkpoint", "delete", "v", "2026/11: nightly");
    }

    [Fact]
    public void Quiet_says_nothing_but_results_and_progress_says_what_is_done()
    {
        Assert.Equal("", _ledger.Bml("bitmap", "enable", "v", "b0", "--quiet").Expect().Output);
        Assert.NotEqual("", _ledger.Bml("bitmap", "list", "v", "--quiet").Expect().Output);

        var told = _ledger.Bml("verify", "--progress", "json").Expect();
        Assert.All(told.Error.TrimEnd().Split('\n'), l => Assert.StartsWith("""{"type":"progress","what":"verify",""", l, StringComparison.Ordinal));
        Assert.Equal("", _ledger.Bml("verify", "--progress", "none").Expect().Error);
        var elsewhere = Tool.Run("sh", "-c", """exec 3>"$0"; exec "$@" """, _ledger.Scratch("progress"),
            Path.Combine(Repository.Programs, "bml"), "projection", "rebuild", "--progress", "fd:3", "--data-dir", _ledger.DataDirectory).Expect();
        Assert.Equal("", elsewhere.Error);
        Assert.Contains("\"finished\":true", File.ReadAllText(_ledger.Scratch("progress")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_read_only_volume_refuses_clients_and_says_that_it_is()
    {
        var image = _ledger.Scratch("read-only.img");
        Tool.Run("truncate", "-s", "1M", image).Expect();
        File.SetUnixFileMode(image, UnixFileMode.UserRead);

        var refused = _ledger.Bml("volume", "add", "ro", "--backend", $"file:{image}");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("--read-only", refused.Error, StringComparison.Ordinal);
        Assert.Contains(image, refused.Error, StringComparison.Ordinal);
        _ledger.Json("volume", "add", "ro", "--backend", $"file:{image}", "--read-only", "--when-full", "fail");

        var shown = _ledger.Json("volume", "show", "ro");
        Assert.True(shown.GetProperty("read_only").GetBoolean());
        Assert.Equal("fail", shown.GetProperty("when_full").GetString());
        Assert.NotEqual(0, Tool.Run("qemu-io", "-f", "raw", "-c", "write 0 512", _ledger.Export("ro")).ExitCode);
        Tool.Run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 512", _ledger.Export("ro")).Expect();
    }

    [Fact]
    public void Schema_verbs_fail_in_the_form_that_was_asked_for()
    {
        var result = _ledger.Bml("db", "status", "--database", "Host=127.0.0.1;Port=1;Username=u;Database=d", "--json");

        Assert.Equal(11, result.ExitCode);
        Assert.Equal("busy", JsonDocument.Parse(result.Error).RootElement.GetProperty("error").GetProperty("code").GetString());
        Assert.Contains("nothing to do", _ledger.Bml("db", "status").Expect().Output, StringComparison.Ordinal);
    }

    private static string[] Members(JsonElement element) => [.. element.EnumerateObject().Select(m => m.Name)];
}
