using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G7: a command with an id acts once and answers the same, however often and whenever it is asked.</summary>
public sealed class RetryTests : IAsyncLifetime
{
    private Ledger _ledger = null!;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        _ledger.Json("volume", "create", "v", "--size", "64M");
    }

    public ValueTask DisposeAsync() => _ledger.DisposeAsync();

    [Fact]
    public void Every_command_asked_again_under_its_id_answers_the_same_event_and_acts_once()
    {
        _ledger.Json("volume", "create", "w", "--size", "1M");
        string[] lines =
        [
            "volume create x --size 1M", "bitmap add v b0", "bitmap clear v b0", "bitmap disable v b0", "bitmap enable v b0",
            "checkpoint create v w both", "checkpoint delete v both", "bitmap remove v b0", "volume remove x",
        ];
        for (var i = 0; i < lines.Length; i++)
        {
            string[] line = [.. lines[i].Split(' '), "--command-id", $"id{i}", "--json"];
            var first = _ledger.Bml(line).Expect();
            var again = _ledger.Bml(line).Expect();
            Assert.Equal(first.Output, again.Output);
        }

        Assert.Equal(
            ["id1", "id2", "id3", "id4", "id5", "id6", "id7"],
            Events("v").Skip(1).Select(e => e.GetProperty("command_id").GetString()));
        // Long afterwards, too: what they name is gone by now.
        foreach (var i in new[] { 1, 7, 8 })
            _ledger.Bml([.. lines[i].Split(' '), "--command-id", $"id{i}"]).Expect();
        Assert.Equal(8, Events("v").Count);
    }

    [Fact]
    public void A_merge_asked_again_answers_the_same_when_its_source_has_gone()
    {
        _ledger.Json("volume", "create", "source", "--size", "64M");
        _ledger.Json("bitmap", "add", "source", "b1");
        _ledger.Json("bitmap", "add", "v", "b0");
        string[] merge = ["bitmap", "merge", "v", "b0", "source:b1", "--command-id", "merge", "--json"];
        var first = _ledger.Bml(merge).Expect();

        _ledger.Json("volume", "remove", "source");

        Assert.Equal(first.Output, _ledger.Bml(merge).Expect().Output);
        Assert.Single(Events("v"), e => e.GetProperty("type").GetString() == "BitmapMerged");
    }

    [Fact]
    public void A_refusal_is_kept_under_its_id_even_when_it_could_be_done_by_now()
    {
        foreach (var (line, code, cure) in new[]
        {
            ("bitmap clear v late", 10, "bitmap add v late"), ("bitmap add z b0", 10, "volume create z --size 1M"),
            ("volume create taken --size 0", 64, "bitmap add v unrelated"),
        })
        {
            var id = $"refused-{line.Length}";
            var first = _ledger.Bml([.. line.Split(' '), "--command-id", id]).Expect(code);
            _ledger.Bml(cure.Split(' ')).Expect();
            Assert.Equal(first.Error, _ledger.Bml([.. line.Split(' '), "--command-id", id]).Expect(code).Error);
        }

        Assert.DoesNotContain(Events("v"), e => e.GetProperty("type").GetString() == "BitmapCleared");
    }

    [Fact]
    public void An_id_that_was_used_for_something_else_is_refused_by_name_and_does_nothing()
    {
        _ledger.Bml("bitmap", "add", "v", "b0", "--command-id", "one").Expect();

        foreach (var other in new[]
        {
            "bitmap add v b1", "bitmap add v b0 --granularity 4K", "bitmap clear v b0", "checkpoint create v b0",
            "volume create y --size 1M", "volume remove v",
        })
            Assert.Contains(
                "Command id 'one' was used for another command",
                _ledger.Bml([.. other.Split(' '), "--command-id", "one"]).Expect(64).Error, StringComparison.Ordinal);

        Assert.Equal(2, Events("v").Count);
    }

    [Fact]
    public async Task An_id_sent_many_times_at_once_acts_once_and_all_get_the_same_answer()
    {
        _ledger.Json("volume", "create", "w", "--size", "1M");
        using var http = Http();
        var same = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => AddAsync(http, "v", "race", "b0")));
        var created = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => CreateAsync(http, "make", "n")));
        var other = await Task.WhenAll(AddAsync(http, "v", "either", "b1"), AddAsync(http, "w", "either", "b1"));

        Assert.Single(same.Distinct());
        Assert.StartsWith("200 ", same[0], StringComparison.Ordinal);
        Assert.Single(created.Distinct());
        Assert.StartsWith("200 ", created[0], StringComparison.Ordinal);
        Assert.Single(other, o => o.StartsWith("200 ", StringComparison.Ordinal));
        Assert.Single(other, o => o.Contains("was used for another command", StringComparison.Ordinal));
        Assert.Equal(1, Events("v").Count(e => e.GetProperty("command_id").GetString() == "race"));
        Assert.Equal(
            1, Events("v").Concat(Events("w")).Count(e => e.GetProperty("command_id").GetString() == "either"));
    }

    // Method: the client hangs up right behind its request, so that its end falls anywhere into the command.
    [Fact]
    public async Task A_command_whose_client_hung_up_acts_once_and_the_bits_stay_equal()
    {
        _ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(_ledger.Export("v"), [(0, 512), (1 << 20, 4096)]);
        for (var i = 0; i < 20; i++)
        {
            await HangUpAsync("/v1/volumes/v/bitmaps/b0/clear", $"clear{i}", TimeSpan.FromMilliseconds(i));
            NbdShell.Write(_ledger.Export("v"), [(i << 16, 512)]);
            _ledger.Bml("bitmap", "clear", "v", "b0", "--command-id", $"clear{i}").Expect();
        }

        Assert.Equal(20, Events("v").Count(e => e.GetProperty("type").GetString() == "BitmapCleared"));
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public async Task The_command_line_asks_again_by_itself_when_the_server_dies_before_its_reply()
    {
        var server = _ledger.Pid("server");
        Posix.Signal(server, Posix.SigStop);
        var asking = Tool.RunAsync(
            Path.Combine(Repository.Programs, "bml"), ["bitmap", "add", "v", "b0", "--data-dir", _ledger.DataDirectory]);
        // Until its request stands in the socket of a server that does not run.
        while (!asking.IsCompleted && !File.ReadAllText("/proc/net/unix").Split('\n').Any(IsConnected))
            await Task.Delay(5);
        await Task.Delay(200);
        _ledger.Kill("server");

        (await asking).Expect();
        Assert.Equal(2, Events("v").Count);

        bool IsConnected(string line) => line.Contains(_ledger.DataDirectory + "/run/api.sock", StringComparison.Ordinal)
            && line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[5] is "02" or "03";
    }

    // An agent that has just started has no bitmaps yet: what is appended then must also be answered.
    [Fact]
    public void A_command_to_an_agent_that_has_just_restarted_is_done_or_not_but_never_done_and_refused()
    {
        _ledger.Json("bitmap", "add", "v", "b0");
        List<string> done = [];
        for (var kill = 0; kill < 3; kill++)
        {
            _ledger.Kill("agent");
            for (var made = 0; made < 2;)
            {
                var name = $"k{kill}-{made}-{done.Count}";
                var answer = _ledger.Bml("checkpoint", "create", "v", name);
                Assert.True(answer.ExitCode is 0 or 11, $"{answer.ExitCode}: {answer.Error}");
                if (answer.ExitCode != 0)
                    continue;
                done.Add(name);
                made++;
            }
        }

        Assert.Equal(done, Events("v").Skip(2).Select(e => e.GetProperty("data").GetProperty("name").GetString()));
    }

    private List<JsonElement> Events(string volume) =>
        [.. _ledger.Json("history", volume).GetProperty("events").EnumerateArray()
            .Where(e => e.GetProperty("type").GetString() != "WritesRecorded")];

    private HttpClient Http()
    {
        HttpClient http = new() { BaseAddress = _ledger.Http };
        http.DefaultRequestHeaders.Authorization = new("Bearer", Token());
        return http;
    }

    private string Token() => File.ReadAllText(Path.Combine(_ledger.DataDirectory, "run", "http.token")).Trim();

    private static Task<string> AddAsync(HttpClient http, string volume, string id, string bitmap) =>
        PostAsync(http, $"/v1/volumes/{volume}/bitmaps", id, $$"""{"name":"{{bitmap}}"}""");

    private static Task<string> CreateAsync(HttpClient http, string id, string name) =>
        PostAsync(http, "/v1/volumes", id, $$"""{"name":"{{name}}","size":1048576}""");

    private static async Task<string> PostAsync(HttpClient http, string path, string id, string body)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, path);
        request.Headers.Add("Idempotency-Key", id);
        request.Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        using var response = await http.SendAsync(request);
        return $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
    }

    private async Task HangUpAsync(string path, string id, TimeSpan after)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(_ledger.Http.Host, _ledger.Http.Port);
        await client.Client.SendAsync(Encoding.ASCII.GetBytes(
            $"POST {path} HTTP/1.1\r\nHost: bml\r\nAuthorization: Bearer {Token()}\r\nIdempotency-Key: {id}\r\nContent-Length: 0\r\n\r\n"));
        await Task.Delay(after);
        client.Client.Close(0);
    }
}
