using System.Text.Json;
using System.Text.RegularExpressions;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>spec/http.md, line by line.</summary>
public sealed partial class HttpTests(ServedVolume served) : IClassFixture<ServedVolume>, IDisposable
{
    private readonly Ledger _ledger = served.Ledger;
    private readonly Api _api = new(served.Ledger);

    public void Dispose() => _api.Dispose();

    [Fact]
    public async Task The_document_describes_every_route_and_no_other()
    {
        var sources = Directory.GetFiles(Path.Combine(Repository.Root, "src", "BitmapLedger.Server"), "*.cs").Select(File.ReadAllText);
        var routes = sources.SelectMany(s => Mapped().Matches(s)).Select(
            m => $"{m.Groups["method"].Value.ToUpperInvariant()} {m.Groups["path"].Value}").Order(StringComparer.Ordinal).ToList();

        var document = (await _api.GetAsync("/openapi/v1.json")).Expect().Json;

        Assert.StartsWith("3.", document.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        var described = document.GetProperty("paths").EnumerateObject()
            .SelectMany(p => p.Value.EnumerateObject().Select(o => $"{o.Name.ToUpperInvariant()} {p.Name}")).Order(StringComparer.Ordinal);
        Assert.Equal(routes, described);
        var add = document.GetProperty("paths").GetProperty("/v1/volumes/{v}/bitmaps").GetProperty("post");
        Assert.Contains("AddBitmapRequest", add.GetProperty("requestBody").GetRawText(), StringComparison.Ordinal);
        Assert.Contains("Idempotency-Key", add.GetProperty("parameters").GetRawText(), StringComparison.Ordinal);
        Assert.Contains("application/problem+json", add.GetProperty("responses").GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_thought_out_at_an_event_is_refused_when_somebody_else_commanded_since()
    {
        var seen = (await _api.GetAsync("/v1/volumes/v")).Expect();
        Assert.Equal($"\"{seen.Json.GetProperty("event").GetInt64()}\"", seen.Tag);
        // Writes are nobody's command.
        NbdShell.Write(_ledger.Export("v"), [(8192, 512)]);
        Assert.Equal(512, (await _api.GetAsync("/v1/volumes/v/blame?offset=8192")).Expect().Json.GetProperty("writes")[0].GetProperty("length").GetInt64());

        var first = (await _api.SendAsync("POST", "/v1/volumes/v/bitmaps", """{"name":"held"}""", $"If-Match: {seen.Tag}")).Expect();
        var late = (await _api.SendAsync("DELETE", "/v1/volumes/v/bitmaps/held", null, $"If-Match: {seen.Tag}")).Expect(412);

        Assert.Equal($"\"{first.Json.GetProperty("event").GetInt64()}\"", first.Tag);
        Assert.Equal("application/problem+json", late.ContentType);
        Assert.NotEmpty(late.Json.GetProperty("code").GetString()!);
        Assert.Contains("'v'", late.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(first.Tag, (await _api.GetAsync("/v1/volumes/v/bitmaps/held")).Expect().Tag);
        (await _api.SendAsync("DELETE", "/v1/volumes/v/bitmaps/held", null, "If-Match: \"999\"")).Expect(412);
        (await _api.SendAsync("DELETE", "/v1/volumes/v/bitmaps/held", null, "If-Match: soon")).Expect(400);
        (await _api.SendAsync("DELETE", "/v1/volumes/v/bitmaps/held", null, $"If-Match: {first.Tag}")).Expect();
        (await _api.SendAsync("DELETE", "/v1/volumes/v", null, $"If-Match: {first.Tag}")).Expect(412);
        (await _api.SendAsync("POST", "/v1/volumes", """{"name":"w","size":1048576}""", "If-Match: \"1\"")).Expect(412);
    }

    [Fact]
    public async Task Of_two_commands_thought_out_at_one_event_one_wins()
    {
        var tag = (await _api.GetAsync("/v1/volumes/v")).Expect().Tag;

        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(
            i => _api.SendAsync("POST", "/v1/volumes/v/bitmaps", $$"""{"name":"race{{i}}"}""", $"If-Match: {tag}")));

        Assert.Equal([200, 412, 412, 412, 412, 412, 412, 412], answers.Select(a => a.Status).Order());
    }

    [Fact]
    public async Task The_same_id_with_If_Match_answers_the_same_again()
    {
        var tag = (await _api.GetAsync("/v1/volumes/v")).Expect().Tag;
        string[] headers = [$"If-Match: {tag}", "Idempotency-Key: once-and-again"];

        var first = (await _api.SendAsync("POST", "/v1/volumes/v/bitmaps", """{"name":"once"}""", headers)).Expect();
        var second = (await _api.SendAsync("POST", "/v1/volumes/v/bitmaps", """{"name":"once"}""", headers)).Expect();

        Assert.Equal(first.Text, second.Text);
        Assert.Equal(first.Tag, second.Tag);
    }

    [Fact]
    public async Task Events_are_told_as_they_are_appended_and_again_from_the_last_one_known()
    {
        using var all = await _api.OpenAsync("/v1/events");
        using var one = await _api.OpenAsync("/v1/events?volume=v");
        Assert.Equal("retry: 1000", await all.ReadLineAsync());
        Assert.Equal("retry: 1000", await one.ReadLineAsync());

        var first = _ledger.Json("bitmap", "add", "v", "told").GetProperty("event").GetInt64();
        _ledger.Json("bitmap", "remove", "v", "told");

        var (sequence, inAll) = await NextAsync(all, "BitmapAdded", "told");
        var (number, inOne) = await NextAsync(one, "BitmapAdded", "told");
        Assert.Equal((first, first), (number, inAll.GetProperty("event").GetInt64()));
        Assert.Equal(sequence, inOne.GetProperty("sequence").GetInt64());
        Assert.Equal("v", inAll.GetProperty("volume").GetString());
        await NextAsync(all, "BitmapRemoved", "told");
        using var again = await _api.OpenAsync("/v1/events", $"Last-Event-ID: {sequence}");
        using var againOne = await _api.OpenAsync("/v1/events?volume=v", $"Last-Event-ID: {number - 1}");
        await NextAsync(again, "BitmapRemoved", "told");
        Assert.Equal(number, (await NextAsync(againOne, "BitmapAdded", "told")).Id);
        (await _api.GetAsync("/v1/events", "Last-Event-ID: 999999999")).Expect(400);
        (await _api.GetAsync("/v1/events", "Last-Event-ID: x")).Expect(400);
        (await _api.GetAsync("/v1/events?volume=nope")).Expect(404);
    }

    [Fact]
    public async Task Listeners_are_bounded_and_those_that_do_not_read_hold_up_nobody()
    {
        // They must be gone from the other tests' ledger afterwards, so they have their own.
        await using var ledger = await Ledger.StartAsync();
        using var api = new Api(ledger);
        List<StreamReader> listeners = [];
        ApiAnswer? refused = null;
        for (var i = 0; i < 65 && refused is null; i++)
        {
            if (i < 64)
                listeners.Add(await api.OpenAsync("/v1/events"));
            else
                refused = await api.GetAsync("/v1/events");
        }

        Assert.Equal("busy", refused!.Expect(503).Json.GetProperty("code").GetString());
        ledger.Json("volume", "create", "v", "--size", "1M");
        Assert.Equal("VolumeCreated", (await NextAsync(listeners[^1], "VolumeCreated", "v")).Event.GetProperty("type").GetString());
        listeners.ForEach(l => l.Dispose());
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        while (!await CanListenAsync(api))
            await Task.Delay(50, limit.Token);
    }

    [Fact]
    public async Task Lists_page_and_go_out_as_lines()
    {
        for (var i = 0; i < 3; i++)
            (await _api.SendAsync("POST", "/v1/checkpoints", $$"""{"name":"page{{i}}","volumes":["v"]}""")).Expect();
        const string list = "/v1/volumes/v/checkpoints";
        var whole = (await _api.GetAsync(list)).Expect().Json;
        Assert.False(whole.TryGetProperty("next", out _));
        var names = whole.GetProperty("checkpoints").EnumerateArray().Select(c => c.GetProperty("name").GetString()!).ToList();

        List<string> paged = [];
        string? next = null;
        do
        {
            var page = (await _api.GetAsync($"{list}?limit=2{(next is null ? "" : $"&after={next}")}")).Expect().Json;
            paged.AddRange(page.GetProperty("checkpoints").EnumerateArray().Select(c => c.GetProperty("name").GetString()!));
            next = page.TryGetProperty("next", out var more) ? more.GetString() : null;
        }
        while (next is not null);
        var lines = (await _api.GetAsync($"{list}?limit=1", "Accept: application/x-ndjson")).Expect();

        Assert.Equal(names, paged);
        Assert.Equal("application/x-ndjson", lines.ContentType);
        Assert.Equal(names[0], lines.Lines[0].GetProperty("name").GetString());
        Assert.Equal($$"""{"type":"end","complete":false,"next":"{{names[0]}}"}""", lines.Lines[^1].GetRawText());
        (await _api.GetAsync($"{list}?limit=0")).Expect(400);
        (await _api.GetAsync($"{list}?after=nope")).Expect(400);
        (await _api.GetAsync("/v1/volumes?limit=1")).Expect();
        var events = (await _api.GetAsync("/v1/volumes/v/history?limit=2", "Accept: application/x-ndjson")).Expect().Lines;
        Assert.Equal((3, false, 2L), (events.Count, events[^1].GetProperty("complete").GetBoolean(), events[^1].GetProperty("next").GetInt64()));
        var later = (await _api.GetAsync("/v1/volumes/v/history?after=2&limit=1")).Expect().Json;
        Assert.Equal(3, later.GetProperty("events")[0].GetProperty("event").GetInt64());
    }

    [Theory]
    [InlineData("/v1/volumes", "volumes")]
    [InlineData("/v1/volumes/v/bitmaps", "bitmaps")]
    [InlineData("/v1/volumes/v/changed?from=start", "extents")]
    [InlineData("/v1/volumes/v/changed?from=start&format=blocks", "blocks")]
    [InlineData("/v1/volumes/v/replay?at=now", "bitmaps")]
    [InlineData("/v1/volumes/v/blame?offset=0", "writes")]
    [InlineData("/v1/volumes/v/history", "events")]
    [InlineData("/v1/projections", "projections")]
    [InlineData("/v1/check", "volumes")]
    public async Task A_stream_of_lines_has_what_the_document_has_and_says_that_it_is_complete(string path, string list)
    {
        var document = (await _api.GetAsync(path)).Expect().Json;

        var lines = (await _api.GetAsync(path, "Accept: application/x-ndjson")).Expect().Lines;

        Assert.Equal(document.GetProperty(list).GetArrayLength(), lines.Count - 1);
        if (list is "extents" or "bitmaps")
            Assert.Equal(document.GetProperty(list).EnumerateArray().Select(e => e.GetRawText()), lines.SkipLast(1).Select(l => l.GetRawText()));
        if (list is "extents" or "blocks")
            Assert.Equal(document.GetProperty("changed_bytes").GetRawText(), lines[^1].GetProperty("changed_bytes").GetRawText());
        Assert.Equal("end", lines[^1].GetProperty("type").GetString());
        Assert.True(lines[^1].GetProperty("complete").GetBoolean());
    }

    [Fact]
    public async Task Changes_are_limited_to_a_window_in_every_format()
    {
        _ledger.Json("volume", "create", "window", "--size", "1M");
        NbdShell.Write(_ledger.Export("window"), [(0, 65536), (200_000, 512), (900_000, 512)]);
        const string path = "/v1/volumes/window/changed?from=start&granularity=4096&offset=4096&length=200000";

        var changed = (await _api.GetAsync(path)).Expect().Json;
        var blocks = (await _api.GetAsync(path + "&format=blocks")).Expect().Json.GetProperty("blocks");
        var bits = (await _api.GetAsync(path + "&format=bitmap")).Expect().Json.GetProperty("bitmap").GetBytesFromBase64();

        Assert.Equal("""[{"offset":4096,"length":61440},{"offset":196608,"length":4096}]""", changed.GetProperty("extents").GetRawText());
        Assert.Equal(65_536, changed.GetProperty("changed_bytes").GetInt64());
        long[] expected = [.. Enumerable.Range(1, 15), 48];
        Assert.Equal(expected, blocks.EnumerateArray().Select(b => b.GetInt64()));
        Assert.Equal(32, bits.Length);
        Assert.Equal(expected, Enumerable.Range(0, 256).Where(b => (bits[b / 8] >> b % 8 & 1) == 1).Select(b => (long)b));
        (await _api.GetAsync("/v1/volumes/window/changed?from=start&offset=1048576")).Expect(400);
        (await _api.GetAsync("/v1/volumes/window/changed?from=start&length=0")).Expect(400);
    }

    [Fact]
    public async Task Sizes_have_units_and_a_range_may_be_one_word_as_on_the_command_line()
    {
        (await _api.SendAsync("POST", "/v1/volumes", """{"name":"units","size":"1.5M"}""")).Expect();
        (await _api.SendAsync("POST", "/v1/volumes/units/bitmaps", """{"name":"fine","granularity":"4K"}""")).Expect();
        NbdShell.Write(_ledger.Export("units"), [(0, 512), (65_536, 512), (131_072, 512)]);
        const string changed = "/v1/volumes/units/changed";

        var volume = (await _api.GetAsync("/v1/volumes/units")).Expect().Json;
        var window = (await _api.GetAsync($"{changed}?from=start&to=now&granularity=4K&offset=64K&length=4k")).Expect().Json;
        var word = (await _api.GetAsync($"{changed}?from=lsn:1..lsn:2")).Expect().Json;
        var history = (await _api.GetAsync("/v1/volumes/units/history?from=event:1..event:2")).Expect().Json;

        Assert.Equal(1_572_864, volume.GetProperty("size").GetInt64());
        Assert.Equal("""[{"offset":65536,"length":4096}]""", window.GetProperty("extents").GetRawText());
        Assert.Equal("""[{"offset":65536,"length":65536}]""", word.GetProperty("extents").GetRawText());
        Assert.Equal("BitmapAdded", history.GetProperty("events").EnumerateArray().Single().GetProperty("type").GetString());
        var refused = (await _api.GetAsync($"{changed}?from=start&offset=4X")).Expect(400);
        Assert.Contains("'4X' is no offset", refused.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_write_alone_is_a_range_of_LSNs_and_has_an_actor_that_is_null()
    {
        _ledger.Json("volume", "create", "single", "--size", "1M");
        NbdShell.Write(_ledger.Export("single"), [(0, 512)]);
        await _ledger.AnswersAsync("verify", "single");

        var events = (await _api.GetAsync("/v1/volumes/single/history")).Expect().Json.GetProperty("events").EnumerateArray().ToList();

        Assert.Equal("0", events[0].GetProperty("lsn").GetRawText());
        Assert.Equal(JsonValueKind.String, events[0].GetProperty("actor").ValueKind);
        Assert.Equal("""{"first":1,"last":1}""", events[1].GetProperty("lsn").GetRawText());
        Assert.Equal(JsonValueKind.Null, events[1].GetProperty("actor").ValueKind);
        Assert.Equal(JsonValueKind.Null, events[1].GetProperty("client").ValueKind);
    }

    [Fact]
    public async Task Heat_counts_writes_by_place_and_time()
    {
        _ledger.Json("volume", "create", "heat", "--size", "1M");
        NbdShell.Write(_ledger.Export("heat"), [(0, 512), (512, 512), (262_143, 2), (1_048_064, 512)]);

        var heat = (await _api.GetAsync("/v1/volumes/heat/heat?from=start&columns=4&rows=3")).Expect().Json;
        var blocks = (await _api.GetAsync("/v1/volumes/heat/heat?from=lsn:1&to=lsn:3&columns=2&rows=2&by=blocks")).Expect().Json;

        Assert.Equal(4, heat.GetProperty("writes").GetInt64());
        var cells = heat.GetProperty("cells").EnumerateArray().Select(r => r.EnumerateArray().Select(c => c.GetInt64()).ToArray()).ToArray();
        Assert.Equal(3, cells.Length);
        Assert.Equal([3, 1, 0, 1], Enumerable.Range(0, 4).Select(c => cells.Sum(r => r[c])));
        Assert.True(heat.GetProperty("exact").GetBoolean());
        Assert.Equal("[[2,1],[0,0]]", blocks.GetProperty("cells").GetRawText());
        (await _api.GetAsync("/v1/volumes/heat/heat?columns=0")).Expect(400);
        (await _api.GetAsync("/v1/volumes/heat/heat?by=luck")).Expect(400);
    }

    [Fact]
    public async Task A_stranger_over_tcp_is_told_what_to_show()
    {
        using var http = new HttpClient { BaseAddress = _ledger.Http };
        using var refused = await http.GetAsync("/v1/volumes");
        var problem = await refused.Content.ReadAsStringAsync();

        Assert.Equal(401, (int)refused.StatusCode);
        Assert.Equal("Bearer", refused.Headers.WwwAuthenticate.ToString());
        Assert.Equal("application/problem+json", refused.Content.Headers.ContentType?.MediaType);
        Assert.Contains("\"code\":\"unauthorized\"", problem, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Text_is_written_as_it_is()
    {
        var problem = (await _api.GetAsync("/v1/volumes/d'un+café")).Expect(404);

        Assert.Contains("Volume 'd'un+café' not found", problem.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Of_a_volume_only_its_size_may_change()
    {
        var refused = (await _api.SendAsync("PATCH", "/v1/volumes/v", """{"durability":"process"}""")).Expect(400);

        Assert.Contains("'durability'", refused.Json.GetProperty("detail").GetString(), StringComparison.Ordinal);
        (await _api.SendAsync("PATCH", "/v1/volumes/v", "{}")).Expect(400);
        (await _api.SendAsync("PATCH", "/v1/volumes/nope", """{"size":1048576}""")).Expect(404);
    }

    [Fact]
    public async Task Health_says_that_the_server_lives_and_is_ready()
    {
        (await _api.GetAsync("/health/live")).Expect();
        Assert.Equal("ready", (await _api.GetAsync("/health/ready")).Expect().Json.GetProperty("status").GetString());
    }

    private static async Task<bool> CanListenAsync(Api api)
    {
        try
        {
            using var stream = await api.OpenAsync("/v1/events");
            return true;
        }
        catch (HttpRequestException full) when (full.StatusCode == System.Net.HttpStatusCode.ServiceUnavailable)
        {
            return false;
        }
    }

    /// <summary>Reads a stream of server-sent events until one comes of this type about this name.</summary>
    private static async Task<(long Id, System.Text.Json.JsonElement Event)> NextAsync(StreamReader stream, string type, string name)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        var id = 0L;
        while (await stream.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.StartsWith("id: ", StringComparison.Ordinal))
                id = long.Parse(line["id: ".Length..]);
            if (!line.StartsWith("data: ", StringComparison.Ordinal))
                continue;
            var happened = System.Text.Json.JsonDocument.Parse(line["data: ".Length..]).RootElement;
            if (happened.GetProperty("type").GetString() == type && happened.GetProperty("data").GetProperty("name").GetString() == name)
                return (id, happened);
        }

        throw new InvalidOperationException($"the stream ended before a {type} of {name}");
    }

    [GeneratedRegex("Map(?<method>Get|Post|Put|Patch|Delete)\\(\\s*\"(?<path>[^\"]+)\"", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 60_000)]
    private static partial Regex Mapped();
}
