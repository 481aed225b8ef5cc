using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary><c>bml history retain</c>, as spec/cli.md has it, with ages made small.</summary>
public sealed class RetentionTests(ServedVolume served) : IClassFixture<ServedVolume>, IDisposable
{
    private readonly Ledger _ledger = served.Ledger;
    private readonly Api _api = new(served.Ledger);

    public void Dispose() => _api.Dispose();

    [Fact]
    public void Coalesced_writes_answer_exactly_between_commands_and_otherwise_say_that_they_do_not()
    {
        Make("r");
        Write("r", 0, 4);
        _ledger.Json("checkpoint", "create", "r", "c");
        Write("r", 65_536 * 4, 4);
        _ledger.Json("bitmap", "clear", "r", "b");
        Write("r", 65_536 * 8, 3);
        var since = Extents("r", "checkpoint:c");
        var bits = _ledger.Json("replay", "r", "--at", "now").GetProperty("bitmaps").GetRawText();
        var young = _ledger.Json("history", "retain", "r", "--exact", "1h", "--coalesced", "1y");
        Assert.Equal(0, young.GetProperty("history").GetProperty("events_before").GetInt64());

        var tried = _ledger.Json("history", "retain", "r", "--exact", "0s", "--coalesced", "1y", "--dry-run");
        Assert.True(tried.GetProperty("dry_run").GetBoolean());
        Assert.DoesNotContain("HistoryRetained", Types("r"), StringComparison.Ordinal);
        var done = _ledger.Json("history", "retain", "r", "--exact", "0s", "--coalesced", "1y");

        Assert.Equal(tried.GetProperty("history").GetRawText(), done.GetProperty("history").GetRawText());
        Assert.Equal(11, done.GetProperty("history").GetProperty("writes").GetInt64());
        Assert.DoesNotContain("WritesRecorded", Types("r"), StringComparison.Ordinal);
        Assert.EndsWith("HistoryCoalesced HistoryRetained", Types("r"), StringComparison.Ordinal);
        Assert.Equal(since, Extents("r", "checkpoint:c"));
        Assert.Equal(bits, _ledger.Json("replay", "r", "--at", "now").GetProperty("bitmaps").GetRawText());
        var inside = _ledger.Json("changed", "r", "--from", "lsn:2");
        Assert.Equal((false, 0L), (inside.GetProperty("exact").GetBoolean(), inside.GetProperty("from").GetProperty("lsn").GetInt64()));
        var exactFrom = done.GetProperty("history").GetProperty("exact_from").GetProperty("time").GetString();
        Assert.Equal(
            $$"""{"from_lsn":0,"to_lsn":4,"why":"single writes were coalesced by retention of the history","exact_from":"{{exactFrom}}"}""",
            inside.GetProperty("gaps")[0].GetRawText());
        var said = _ledger.Bml("changed", "r", "--from", "lsn:2").Expect().Output;
        Assert.Contains($"lsn 4: single writes were coalesced by retention of the history; exact from {exactFrom}", said, StringComparison.Ordinal);
        Assert.Equal(3, _ledger.Bml("changed", "r", "--from", "lsn:2", "--strict").ExitCode);
        Assert.Equal(0, _ledger.Bml("changed", "r", "--from", "checkpoint:c", "--strict").ExitCode);
        var blame = _ledger.Json("blame", "r", "--offset", "0", "--length", "1");
        Assert.False(blame.GetProperty("exact").GetBoolean());
        Assert.Empty(blame.GetProperty("writes").EnumerateArray());
        Write("r", 65_536 * 12, 1);
        Assert.Single(_ledger.Json("blame", "r", "--offset", "786432").GetProperty("writes").EnumerateArray());
        Assert.True(_ledger.Json("verify", "r").GetProperty("equal").GetBoolean());
        Assert.True(_ledger.Json("check").GetProperty("ok").GetBoolean());
        _ledger.Bml("projection", "rebuild").Expect();
        Assert.True(_ledger.Json("verify", "r").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void A_point_before_the_kept_history_is_gone_and_checkpoints_and_slices_are_not()
    {
        Make("g");
        _ledger.Json("retention", "set", "g", "b", "--slices", "2");
        Write("g", 0, 2);
        _ledger.Json("slice", "bank", "g", "b");
        Write("g", 65_536, 2);
        _ledger.Json("slice", "bank", "g", "b");
        _ledger.Json("checkpoint", "create", "g", "c");
        Write("g", 131_072, 2);
        var slices = _ledger.Json("slice", "list", "g", "b").GetRawText();
        var since = Extents("g", "slice-start:b/0");
        var then = _ledger.Json("replay", "g", "--at", "checkpoint:c").GetProperty("bitmaps").GetRawText();

        var kept = _ledger.Json("history", "retain", "g", "--exact", "0s", "--coalesced", "0s").GetProperty("history").GetProperty("kept_from");

        foreach (var line in (string[])["changed g --from start", "changed g --from event:3", "replay g --at lsn:1", "history g --from event:2"])
        {
            var refused = _ledger.Bml([.. line.Split(' '), "--json"]);
            Assert.Equal(13, refused.ExitCode);
            Assert.Contains("\"code\":\"history-gone\"", refused.Error, StringComparison.Ordinal);
            Assert.Contains(kept.GetProperty("time").GetString()!, refused.Error, StringComparison.Ordinal);
        }

        Assert.Equal(slices, _ledger.Json("slice", "list", "g", "b").GetRawText());
        Assert.Equal(since, Extents("g", "slice-start:b/0"));
        Assert.Equal(then, _ledger.Json("replay", "g", "--at", "checkpoint:c").GetProperty("bitmaps").GetRawText());
        Assert.False(_ledger.Json("blame", "g", "--offset", "0").GetProperty("exact").GetBoolean());
        Assert.True(_ledger.Json("verify", "g").GetProperty("equal").GetBoolean());
        Assert.True(_ledger.Json("check").GetProperty("ok").GetBoolean());
    }

    [Fact]
    public async Task Over_http_it_answers_the_event_and_the_same_key_the_same()
    {
        Make("h");
        Write("h", 0, 3);
        const string body = """{"exact": "0s", "coalesced": "1y"}""";
        var first = (await _api.SendAsync("POST", "/v1/volumes/h/history/retain", body, "Idempotency-Key: retain-h")).Expect();
        Write("h", 65_536, 1);
        var again = (await _api.SendAsync("POST", "/v1/volumes/h/history/retain", body, "Idempotency-Key: retain-h")).Expect();

        Assert.Equal(first.Text, again.Text);
        Assert.Equal($"\"{first.Json.GetProperty("event")}\"", first.Tag);
        Assert.Contains("WritesRecorded", Types("h"), StringComparison.Ordinal);
        foreach (var wrong in (string[])["{}", """{"exact": "1d"}""", """{"exact": "2d", "coalesced": "1d"}""", """{"exact": "soon", "coalesced": "1d"}"""])
            (await _api.SendAsync("POST", "/v1/volumes/h/history/retain", wrong)).Expect(400);
        (await _api.SendAsync("POST", "/v1/volumes/nope/history/retain", body)).Expect(404);
        foreach (var age in (string[])["1x", "1.5d", "", "99999999999999999999y", "1001y"])
            Assert.Equal(64, _ledger.Bml("history", "retain", "h", "--exact", age, "--coalesced", "1y").ExitCode);
        Assert.Equal(64, _ledger.Bml("history", "retain", "h", "--exact", "2y", "--coalesced", "1y").ExitCode);
        Assert.Equal(64, _ledger.Bml("history", "retain", "h", "--exact", "1d").ExitCode);
        Assert.Equal(10, _ledger.Bml("history", "retain", "nope", "--exact", "1d", "--coalesced", "1y", "--dry-run").ExitCode);
        var nothing = _ledger.Bml("history", "retain", "h", "--exact", "1d", "--coalesced", "1y").Expect().Output;
        Assert.Contains("nothing is old enough", nothing, StringComparison.Ordinal);
    }

    private void Make(string volume)
    {
        _ledger.Json("volume", "create", volume, "--size", "1M");
        _ledger.Json("bitmap", "add", volume, "b");
    }

    private void Write(string volume, long offset, int count) =>
        NbdShell.Write(_ledger.Export(volume), [.. Enumerable.Range(0, count).Select(i => (offset + 4096L * i, 512L))]);

    private string Extents(string volume, string from)
    {
        var changed = _ledger.Json("changed", volume, "--from", from);
        Assert.True(changed.GetProperty("exact").GetBoolean());
        return changed.GetProperty("extents").GetRawText();
    }

    private string Types(string volume) => string.Join(
        ' ', _ledger.Json("history", volume).GetProperty("events").EnumerateArray().Select(e => e.GetProperty("type").GetString()));
}
