using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Slices, merges, sizes and checkpoints over HTTP and the command line, as spec/cli.md and spec/qmp.md have them.</summary>
public sealed class SliceTests(ServedVolume served) : IClassFixture<ServedVolume>, IDisposable
{
    private readonly Ledger _ledger = served.Ledger;
    private readonly Api _api = new(served.Ledger);

    public void Dispose() => _api.Dispose();

    [Fact]
    public void Banking_moves_the_bits_into_a_numbered_slice_until_there_is_no_room()
    {
        Make("s", "b");
        Refuses(1, "Bitmap 'b' already retains 0 slices", "slice", "bank", "s", "b");
        _ledger.Json("retention", "set", "s", "b", "--slices", "2");
        Write("s", 0);
        Assert.Equal(0, _ledger.Json("slice", "bank", "s", "b").GetProperty("slice").GetInt64());
        Assert.Equal(0, Count("s", "b"));
        Write("s", 65_536);
        Assert.Equal(1, _ledger.Json("slice", "bank", "s", "b").GetProperty("slice").GetInt64());
        Write("s", 131_072);
        Refuses(1, "Bitmap 'b' already retains 2 slices", "slice", "bank", "s", "b");
        Assert.Equal(65_536, Count("s", "b"));

        var cycled = _ledger.Json("slice", "bank", "s", "b", "--force-cycle");

        Assert.Equal((2, """[{"bitmap":"b","slice":0}]"""), (cycled.GetProperty("slice").GetInt32(), cycled.GetProperty("dropped_slices").GetRawText()));
        Assert.Equal("1 65536 manual, 2 65536 manual", Slices("s", "b"));
        var changed = _ledger.Json("changed", "s", "--from", "slice-start:b/2", "--to", "slice:b/2");
        Assert.Equal("""[{"offset":131072,"length":65536}]""", changed.GetProperty("extents").GetRawText());
        Refuses(10, "Slice 0 of bitmap 'b' not found", "slice", "delete", "s", "b", "0");
        _ledger.Json("slice", "delete", "s", "b", "2");
        Assert.Equal("1 131072 manual", Slices("s", "b"));
        Refuses(1, "already retains 1 slices", "retention", "set", "s", "b", "--slices", "0");
        _ledger.Json("retention", "set", "s", "b", "--slices", "0", "--force-cycle");
        Assert.Equal("", Slices("s", "b"));
        Assert.True(_ledger.Json("verify", "s").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void A_policy_that_cycles_lets_the_oldest_go_and_the_volume_shows_it()
    {
        Make("cycling", "b");
        _ledger.Json("retention", "set", "cycling", "b", "--slices", "1", "--overflow", "cycle");
        _ledger.Json("slice", "bank", "cycling", "b");
        Assert.Contains("(slice 0 had to go)", _ledger.Bml("slice", "bank", "cycling", "b").Expect().Output, StringComparison.Ordinal);

        var shown = _ledger.Json("volume", "show", "cycling").GetProperty("bitmaps")[0];
        Assert.Equal("1 cycle 1", $"{shown.GetProperty("retention")} {shown.GetProperty("overflow")} {shown.GetProperty("slices")}");
        Refuses(64, "sometimes", "retention", "set", "cycling", "b", "--slices", "1", "--overflow", "sometimes");
        Refuses(64, "-1", "retention", "set", "cycling", "b", "--slices", "-1");
        Refuses(64, "x", "slice", "delete", "cycling", "b", "x");
        Refuses(10, "zz", "slice", "list", "cycling", "zz");
        var history = _ledger.Bml("history", "cycling").Expect().Output;
        foreach (var said in new[] { "RetentionSet", "b keeps 1, then cycle", "SliceBanked", "b/1", "SliceDropped", "b/0" })
            Assert.Contains(said, history, StringComparison.Ordinal);
    }

    [Fact]
    public void A_merge_takes_bits_from_bitmaps_of_this_volume_and_of_others()
    {
        Make("into", "target");
        _ledger.Json("bitmap", "add", "into", "near");
        Make("from", "far");
        Write("into", 0);
        _ledger.Json("bitmap", "clear", "into", "target");
        Write("from", 524_288);

        _ledger.Json("bitmap", "merge", "into", "target", "near", "from:far");

        Assert.Equal(
            """[{"offset":0,"length":65536},{"offset":524288,"length":65536}]""",
            _ledger.Json("bitmap", "show", "into", "target").GetProperty("extents").GetRawText());
        Refuses(10, "Dirty bitmap 'zz' not found", "bitmap", "merge", "into", "target", "zz");
        Refuses(10, "Volume 'nope' not found", "bitmap", "merge", "into", "target", "nope:far");
        Refuses(64, "merge", "bitmap", "merge", "into", "target");
        Assert.Contains("target from near, from:far", _ledger.Bml("history", "into").Expect().Output, StringComparison.Ordinal);
        Assert.True(_ledger.Json("verify", "into").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public async Task A_merge_over_HTTP_names_its_sources_as_QEMU_does()
    {
        Make("http-into", "t");
        Make("http-from", "f");
        Write("http-from", 0);

        (await _api.SendAsync(
            "POST", "/v1/volumes/http-into/bitmaps/t/merge", """{"sources":[{"volume":"http-from","name":"f"},"t"]}""")).Expect();

        Assert.Equal(65_536, Count("http-into", "t"));
        foreach (var (body, said) in new[]
        {
            ("{}", "'sources' is missing"), ("""{"sources":"f"}""", "'sources'"), ("""{"sources":[5]}""", "'sources"),
            ("""{"sources":[{"node":"x","name":"f"}]}""", "'sources"), ("""{"sources":[null]}""", "null"),
        })
        {
            var refused = (await _api.SendAsync("POST", "/v1/volumes/http-into/bitmaps/t/merge", body)).Expect(400);
            Assert.Contains(said, refused.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_volume_grows_and_shrinks_and_its_bitmaps_follow()
    {
        Make("sized", "b");
        Write("sized", 983_040);

        _ledger.Json("volume", "resize", "sized", "--size", "2M");
        Write("sized", 1_966_080);
        var shrunk = (await _api.SendAsync("PATCH", "/v1/volumes/sized", """{"size":1048576}""")).Expect();

        Assert.Equal($"\"{shrunk.Json.GetProperty("event").GetInt64()}\"", shrunk.Tag);
        Assert.Equal("1048576", Tool.Run("nbdinfo", "--size", _ledger.Export("sized")).Expect().Output.Trim());
        Assert.Equal(1 << 20, _ledger.Json("volume", "show", "sized").GetProperty("size").GetInt64());
        Assert.Equal(65_536, Count("sized", "b"));
        Assert.Contains("2 MiB to 1 MiB", _ledger.Bml("history", "sized").Expect().Output, StringComparison.Ordinal);
        Refuses(64, "1000", "volume", "resize", "sized", "--size", "1000");
        Refuses(10, "nope", "volume", "resize", "nope", "--size", "1M");
        Assert.True(_ledger.Json("verify", "sized").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void Checkpoints_know_their_parent_and_what_changed_since()
    {
        Make("points", "b");
        _ledger.Json("checkpoint", "create", "points", "one");
        Write("points", 0);
        _ledger.Json("checkpoint", "create", "points", "two");
        Write("points", 65_536);

        var listed = _ledger.Json("checkpoint", "list", "points").GetProperty("checkpoints").EnumerateArray()
            .Select(c => $"{c.GetProperty("name")}<{(c.TryGetProperty("parent", out var parent) ? parent : "-")} {c.GetProperty("count")}");

        Assert.Equal(["one<- 131072", "two<one 65536"], listed);
    }

    [Fact]
    public async Task Of_several_clients_that_want_the_same_one_wins_and_the_others_get_the_text_of_QEMU()
    {
        Make("race", "b");
        _ledger.Json("retention", "set", "race", "b", "--slices", "9");
        _ledger.Json("slice", "bank", "race", "b");

        await OneWins("POST", "/v1/volumes/race/bitmaps", """{"name":"same"}""", 409, "Bitmap already exists: same");
        await OneWins("POST", "/v1/checkpoints", """{"name":"same","volumes":["race"]}""", 409, "'same'");
        await OneWins("DELETE", "/v1/volumes/race/bitmaps/b/slices/0", null, 404, "Slice 0 of bitmap 'b' not found");
        await OneWins("DELETE", "/v1/volumes/race/bitmaps/same", null, 404, "Dirty bitmap 'same' not found");
        await OneWins("DELETE", "/v1/volumes/race/checkpoints/same", null, 404, "'same'");
        await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => _api.SendAsync("POST", "/v1/volumes/race/bitmaps/b/slices", null)));
        Assert.Equal("1 2 3 4 5 6", string.Join(' ', Slices("race", "b").Split(", ").Select(s => s.Split(' ')[0])));
    }

    [Fact]
    public async Task A_bank_that_is_sent_twice_with_one_id_happens_once()
    {
        Make("twice", "b");
        _ledger.Json("retention", "set", "twice", "b", "--slices", "5");
        const string path = "/v1/volumes/twice/bitmaps/b/slices";

        var first = (await _api.SendAsync("POST", path, null, "Idempotency-Key: bank-twice")).Expect();
        var again = (await _api.SendAsync("POST", path, "{}", "Idempotency-Key: bank-twice")).Expect();

        Assert.Equal(first.Text, again.Text);
        Assert.Equal("0 0 manual", Slices("twice", "b"));
        var events = _ledger.Json("history", "twice", "--type", "SliceBanked").GetProperty("events");
        Assert.Equal("bank-twice", Assert.Single(events.EnumerateArray()).GetProperty("command_id").GetString());
        var lines = (await _api.GetAsync(path, "Accept: application/x-ndjson")).Expect().Lines;
        Assert.Equal((2, true), (lines.Count, lines[^1].GetProperty("complete").GetBoolean()));
    }

    private async Task OneWins(string method, string path, string? body, int status, string said)
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => _api.SendAsync(method, path, body)));

        Assert.Equal([200, .. Enumerable.Repeat(status, 5)], answers.Select(a => a.Status).Order());
        Assert.All(answers.Where(a => a.Status != 200), a => Assert.Contains(
            said, a.Json.GetProperty("detail").GetString(), StringComparison.Ordinal));
    }

    private void Make(string volume, string bitmap)
    {
        _ledger.Json("volume", "create", volume, "--size", "1M");
        _ledger.Json("bitmap", "add", volume, bitmap);
    }

    private void Write(string volume, long offset) => NbdShell.Write(_ledger.Export(volume), [(offset, 512)]);

    private long Count(string volume, string bitmap) => _ledger.Json("bitmap", "show", volume, bitmap).GetProperty("count").GetInt64();

    private string Slices(string volume, string bitmap) => string.Join(
        ", ", _ledger.Json("slice", "list", volume, bitmap).GetProperty("slices").EnumerateArray()
            .Select(s => $"{s.GetProperty("slice")} {s.GetProperty("count")} {s.GetProperty("cause")}"));

    private void Refuses(int exitCode, string said, params string[] line)
    {
        var refused = _ledger.Bml([.. line, "--json"]);
        Assert.True(refused.ExitCode == exitCode, $"{refused.Command}: {refused.ExitCode}\n{refused.Error}");
        using var error = JsonDocument.Parse(refused.Error.Trim());
        Assert.Contains(said, error.RootElement.GetProperty("error").GetRawText(), StringComparison.Ordinal);
    }
}
