using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;
using BitmapLedger.Testing;

namespace BitmapLedger.Qmp.Tests;

/// <summary>Client and server over a pair of sockets.</summary>
public sealed class ClientServerTests
{
    private static readonly CancellationToken _never = CancellationToken.None;

    [Fact]
    public async Task A_client_is_greeted_negotiates_and_is_answered()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync();

        var echoed = await client.ExecuteAsync("echo", new JsonObject { ["text"] = "é\u0001😀" }, _never);

        Assert.Equal("é\u0001😀", (string?)echoed);
        Assert.Equal(7, (long?)client.Greeting["version"]!["qemu"]!["major"]);
    }

    [Fact]
    public async Task A_refusal_arrives_with_its_class_and_its_text()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync();

        var unknown = await Assert.ThrowsAsync<QmpException>(() => client.ExecuteAsync("nope", arguments: null, _never));
        var missing = await Assert.ThrowsAsync<QmpException>(() => client.ExecuteAsync("echo", arguments: null, _never));

        Assert.Equal((QmpErrorClass.CommandNotFound, "The command nope has not been found"), (unknown.ErrorClass, unknown.Description));
        Assert.Equal((QmpErrorClass.GenericError, "Parameter 'text' is missing"), (missing.ErrorClass, missing.Description));
    }

    [Fact]
    public async Task A_text_with_a_zero_character_is_refused_by_the_name_of_its_argument()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync();

        var argument = await Assert.ThrowsAsync<QmpException>(
            () => client.ExecuteAsync("echo", new JsonObject { ["text"] = "a\0b" }, _never));
        var id = await Assert.ThrowsAsync<QmpException>(() => client.SendAsync(
            new JsonObject { ["execute"] = "echo", ["command-id"] = "a\0b" }, _never));

        Assert.Equal("Parameter 'text' holds a zero character", argument.Description);
        Assert.StartsWith("QMP input member 'command-id' must be", id.Description, StringComparison.Ordinal);
    }

    // What it settles is a connection, so its id stands for no more than that.
    [Fact]
    public async Task A_negotiation_that_is_sent_again_under_its_command_id_is_answered_again()
    {
        await using var pair = new Pair();
        await using var raw = new NetworkStream(await pair.RawAsync(), ownsSocket: true);
        using var lines = new StreamReader(raw);
        const string id = "\"command-id\": \"c\"";
        string[] messages =
        [
            $$"""{ {{id}}, "execute": "qmp_capabilities"}""", $$"""{ {{id}}, "execute": "qmp_capabilities"}""",
            $$"""{ {{id}}, "execute": "qmp_capabilities", "arguments": {"enable": ["oob"]} }""",
        ];
        await raw.WriteAsync(Encoding.ASCII.GetBytes(string.Concat(messages)));

        _ = await lines.ReadLineAsync();
        Assert.Equal("{\"return\": {}}", await lines.ReadLineAsync());
        Assert.Equal("{\"return\": {}}", await lines.ReadLineAsync());
        Assert.Contains("already complete", await lines.ReadLineAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Events_reach_every_client_that_has_negotiated_in_order()
    {
        await using var pair = new Pair();
        await using var one = await pair.ConnectAsync();
        await using var two = await pair.ConnectAsync();

        for (var i = 0; i < 100; i++)
            pair.Server.Publish("TICK", new JsonObject { ["n"] = i });

        foreach (var client in new[] { one, two })
        {
            var seen = 0;
            await foreach (var happened in client.Events)
            {
                Assert.Equal(("TICK", seen), (happened.Name, (int)happened.Data!["n"]!.GetValue<long>()));
                if (++seen == 100)
                    break;
            }
        }
    }

    [Fact]
    public async Task Out_of_band_overtakes_a_command_that_is_under_way()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync("oob");
        var waiting = client.ExecuteAsync("wait", arguments: null, _never);

        await client.SendAsync(new JsonObject { ["exec-oob"] = "go-on" }, _never);

        await waiting;
    }

    [Fact]
    public async Task A_client_that_gives_up_waiting_may_go_on_with_the_next_command()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync("oob");
        using var patience = new CancellationTokenSource();
        var waiting = client.ExecuteAsync("wait", arguments: null, patience.Token);
        await patience.CancelAsync();

        await Task.WhenAny(waiting);
        Assert.True(waiting.IsCanceled);
        await client.SendAsync(new JsonObject { ["exec-oob"] = "go-on" }, _never);

        Assert.NotNull(await client.ExecuteAsync("query-version", arguments: null, _never));
    }

    [Fact]
    public async Task A_client_that_reads_nothing_is_turned_away_and_the_others_are_served()
    {
        await using var pair = new Pair();
        await using var diligent = await pair.ConnectAsync();
        using var lazy = await pair.RawAsync();
        await lazy.SendAsync("{\"execute\":\"qmp_capabilities\"}"u8.ToArray());
        var data = new string('x', 64 << 10);

        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        for (var i = 0; !pair.Ended.Any(t => t.IsCompleted); i++)
        {
            pair.Server.Publish("NOISE", new JsonObject { ["data"] = i % 100 == 0 ? data : "" });
            if (i % 100 == 0)
                Assert.NotNull(await diligent.ExecuteAsync("query-version", arguments: null, limit.Token));
        }
    }

    [Fact]
    public async Task A_client_that_reads_a_large_reply_slowly_gets_it_and_the_events_of_the_meantime()
    {
        await using var pair = new Pair();
        using var slow = await pair.RawAsync();
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        using var received = new StreamReader(new NetworkStream(slow));
        var text = new string('x', 8 << 20);
        await slow.SendAsync(Encoding.ASCII.GetBytes(
            $"{{\"execute\":\"qmp_capabilities\"}}{{\"execute\":\"echo\",\"arguments\":{{\"text\":\"{text}\"}}}}"));
        await Waiting.UntilAsync(() => pair.Echoed == 1 && slow.Available > 1 << 16);

        for (var i = 0; i < 100; i++)
            pair.Server.Publish("TICK", new JsonObject { ["n"] = i });

        _ = await received.ReadLineAsync(limit.Token);
        _ = await received.ReadLineAsync(limit.Token);
        Assert.Equal($"{{\"return\": \"{text}\"}}", await received.ReadLineAsync(limit.Token));
        for (var i = 0; i < 100; i++)
            Assert.Contains($"{{\"n\": {i}}}", await received.ReadLineAsync(limit.Token), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_command_that_has_begun_is_carried_through_when_its_client_goes_away_and_the_next_is_not_begun()
    {
        await using var pair = new Pair();
        await using var other = await pair.ConnectAsync("oob");
        using (var leaving = await pair.RawAsync())
        {
            await leaving.SendAsync(
                "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"wait\"}{\"execute\":\"echo\",\"arguments\":{\"text\":\"\"}}"u8.ToArray());
            await Waiting.UntilAsync(() => pair.Begun == 1);
            leaving.LingerState = new(enable: true, seconds: 0);
        }

        // The first may still be taken in by the socket; an event that cannot be sent tells that the client has gone.
        for (var i = 0; i < 5; i++)
        {
            pair.Server.Publish("TICK", data: null);
            await Task.Delay(50);
        }

        Assert.Equal(0, pair.Broken);
        await other.SendAsync(new JsonObject { ["exec-oob"] = "go-on" }, _never);

        await Waiting.UntilAsync(() => pair.Ended[1].IsCompleted);
        Assert.Equal((1, 0, 0), (pair.Finished, pair.Broken, pair.Echoed));
    }

    [Fact]
    public async Task Replies_that_nobody_reads_keep_their_client_waiting_before_they_fill_the_memory()
    {
        const int asked = 1000;
        await using var pair = new Pair();
        using var lazy = await pair.RawAsync();
        var text = new string('x', 32 << 10);
        var requests = Encoding.ASCII.GetBytes(
            "{\"execute\":\"qmp_capabilities\"}" + string.Concat(Enumerable.Range(0, asked).Select(
                i => $"{{\"execute\":\"echo\",\"arguments\":{{\"text\":\"{text}\"}},\"id\":{i}}}")));
        var sending = Task.Run(() => lazy.Send(requests));

        // It stands still once what waits is a mebibyte; what the sockets hold comes on top.
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        for (var before = -1; before != pair.Echoed || before == 0;)
        {
            before = pair.Echoed;
            await Task.Delay(200, limit.Token);
        }

        Assert.InRange(pair.Echoed, 1, asked / 2);
        Assert.False(sending.IsCompleted);

        using var replies = new StreamReader(new NetworkStream(lazy));
        _ = await replies.ReadLineAsync(limit.Token);
        _ = await replies.ReadLineAsync(limit.Token);
        for (var i = 0; i < asked; i++)
            Assert.EndsWith($"\"id\": {i}}}", await replies.ReadLineAsync(limit.Token), StringComparison.Ordinal);
        await sending;
    }

    [Fact]
    public async Task Whatever_breaks_in_a_handler_is_an_answer_and_not_the_end()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync();

        var failure = await Assert.ThrowsAsync<QmpException>(() => client.ExecuteAsync("break", arguments: null, _never));

        Assert.Contains("this is a bug", failure.Description, StringComparison.Ordinal);
        Assert.NotNull(await client.ExecuteAsync("query-version", arguments: null, _never));
    }

    [Fact]
    public async Task A_server_that_goes_away_is_an_error_to_whoever_waits_and_to_whoever_comes()
    {
        var pair = new Pair();
        await using var client = await pair.ConnectAsync();
        var waiting = client.ExecuteAsync("wait", arguments: null, _never);
        await pair.DisposeAsync();

        await Task.WhenAny(waiting);
        Assert.IsAssignableFrom<IOException>(waiting.Exception!.InnerException);
        await Assert.ThrowsAnyAsync<IOException>(() => client.ExecuteAsync("query-version", arguments: null, _never));
    }

    [Fact]
    public async Task Query_commands_lists_what_works_and_nothing_else()
    {
        await using var pair = new Pair();
        await using var client = await pair.ConnectAsync();

        var listed = (await client.ExecuteAsync("query-commands", arguments: null, _never))!.AsArray().Select(c => (string)c!["name"]!);

        Assert.Equal(
            ["break", "echo", "go-on", "qmp_capabilities", "query-commands", "query-version", "wait"], listed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Requests_before_a_half_close_are_all_answered()
    {
        await using var pair = new Pair();
        using var raw = await pair.RawAsync();
        await raw.SendAsync("{\"execute\":\"qmp_capabilities\"}{\"execute\":\"echo\",\"arguments\":{\"text\":\"last\"},\"id\":[1,{}]}"u8.ToArray());
        raw.Shutdown(SocketShutdown.Send);

        var received = new StringBuilder();
        var buffer = new byte[4096];
        for (int count; (count = await raw.ReceiveAsync(buffer)) > 0;)
            received.Append(Encoding.ASCII.GetString(buffer, 0, count));

        Assert.EndsWith("{\"return\": \"last\", \"id\": [1, {}]}\r\n", received.ToString(), StringComparison.Ordinal);
    }

    private sealed class Pair : IAsyncDisposable
    {
        private readonly CancellationTokenSource _ending = new();
        private readonly List<Task> _serving = [];
        private readonly SemaphoreSlim _goOn = new(0);
        private int _echoed;
        private int _begun;
        private int _finished;
        private int _broken;

        public Pair() => Server = new(
            [
                new("echo", [new("text", ArgumentType.Text)], (r, _) =>
                {
                    Interlocked.Increment(ref _echoed);
                    return Task.FromResult<JsonNode?>(r.Arguments.Text("text"));
                }),
                new("break", [], (_, _) => throw new InvalidOperationException("on purpose")),
                new("wait", [], async (_, c) =>
                {
                    Interlocked.Increment(ref _begun);
                    try
                    {
                        await _goOn.WaitAsync(c);
                    }
                    catch (OperationCanceledException)
                    {
                        Interlocked.Increment(ref _broken);
                        throw;
                    }

                    Interlocked.Increment(ref _finished);
                    return null;
                }),
                new("go-on", ArgumentType.Structure(), (_, _) =>
                {
                    _goOn.Release();
                    return Task.FromResult<JsonNode?>(null);
                }, AllowsOob: true),
            ],
            new() { Version = (7, 2, 0), Package = "test" });

        public QmpServer Server { get; }

        public int Echoed => Volatile.Read(ref _echoed);

        public int Begun => Volatile.Read(ref _begun);

        public int Finished => Volatile.Read(ref _finished);

        public int Broken => Volatile.Read(ref _broken);

        public List<Task> Ended => _serving;

        public async Task<QmpClient> ConnectAsync(params IReadOnlyList<string> enable) =>
            await QmpClient.OpenAsync(new NetworkStream(await RawAsync(), ownsSocket: true), enable, _never);

        public async Task<Socket> RawAsync()
        {
            using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
            listener.Listen();
            var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            await client.ConnectAsync(listener.LocalEndPoint!);
            _serving.Add(Server.ServeAsync(new NetworkStream(await listener.AcceptAsync(), ownsSocket: true), _ending.Token));
            return client;
        }

        public async ValueTask DisposeAsync()
        {
            await _ending.CancelAsync();
            await Task.WhenAll(_serving);
            _ending.Dispose();
            _goOn.Dispose();
        }
    }
}
