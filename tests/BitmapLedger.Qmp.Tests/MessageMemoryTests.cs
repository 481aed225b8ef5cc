using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Qmp.Json;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;
using BitmapLedger.Testing;

namespace BitmapLedger.Qmp.Tests;

/// <summary>Large messages of many clients: what they hold is bounded, and whoever dawdles keeps nobody out.</summary>
public sealed class MessageMemoryTests : IAsyncDisposable
{
    /// <summary>An eighth of what a server has: messages may be up to a quarter of it.</summary>
    private const long BytesMax = MessageBudget.BytesDefault / 8;

    private static readonly CancellationToken _never = CancellationToken.None;
    private readonly CancellationTokenSource _ending = new();
    private readonly List<Task> _serving = [];
    private readonly MessageBudget _budget = new(BytesMax);
    private readonly SemaphoreSlim _goOn = new(0);
    private readonly QmpServer _server;
    private int _begun;

    public MessageMemoryTests() => _server = new(
        [
            new("length", [new("text", ArgumentType.Text)], (r, _) => Task.FromResult<JsonNode?>(r.Arguments.Text("text").Length)),
            new("wait", [new Member("text", ArgumentType.Text).Optional], async (_, c) =>
            {
                Interlocked.Increment(ref _begun);
                await _goOn.WaitAsync(c);
                return null;
            }),
        ],
        new() { Version = (7, 2, 0), Package = "test", Budget = _budget });

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await Task.WhenAll(_serving);
        _ending.Dispose();
        _goOn.Dispose();
    }

    // What is read of a message is kept in memory that grows by doubling: three hold a quarter of all that there is each, and one
    // an eighth.
    [Fact]
    public async Task Clients_that_do_not_end_large_messages_make_room_for_one_that_sends_a_whole_one_and_the_newest_of_them_can_still_go_on()
    {
        const int whole = 15 << 19;
        int[] begun = [5 << 20, 5 << 20, 5 << 20, 5 << 19];
        List<Socket> slow = [];
        for (var i = 0; i < begun.Length; i++)
        {
            var socket = await ConnectAsync();
            slow.Add(socket);
            await SendAsync(socket, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"length\",\"arguments\":{\"text\":\"", new string('x', begun[i]));
            var left = i < 3 ? BytesMax * (3 - i) / 4 : BytesMax / 8;
            await Waiting.UntilAsync(() => _budget.Left == left);
        }

        await using (var honest = await QmpClient.OpenAsync(new NetworkStream(await ConnectAsync(), ownsSocket: true), [], _never))
            Assert.Equal(whole, (long?)await honest.ExecuteAsync("length", new JsonObject { ["text"] = new string('y', whole) }, _never));

        await SendAsync(slow[3], "\"}}");
        Assert.Equal($"{{\"return\": {begun[3]}}}", (await LinesAsync(slow[3], 3))[^1]);
        var refused = await LinesAsync(slow[0], 4);
        Assert.StartsWith("{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON token size limit exceeded", refused[2], StringComparison.Ordinal);
        Assert.Null(refused[3]);
        slow.ForEach(s => s.Dispose());
        await Waiting.UntilAsync(() => _budget.Left == BytesMax);
    }

    [Theory]
    [InlineData]
    [InlineData("oob")]
    public async Task Large_messages_are_answered_one_at_a_time_and_small_ones_beside_them(params string[] enable)
    {
        await using var first = await QmpClient.OpenAsync(new NetworkStream(await ConnectAsync(), ownsSocket: true), enable, _never);
        await using var second = await QmpClient.OpenAsync(new NetworkStream(await ConnectAsync(), ownsSocket: true), enable, _never);
        await using var third = await QmpClient.OpenAsync(new NetworkStream(await ConnectAsync(), ownsSocket: true), enable, _never);
        JsonObject large = new() { ["text"] = new string('x', 1 << 20) };

        var holding = first.ExecuteAsync("wait", large.DeepClone().AsObject(), _never);
        await Waiting.UntilAsync(() => Volatile.Read(ref _begun) == 1);
        var waiting = second.ExecuteAsync("length", large, _never);
        Assert.Equal(1, (long?)await third.ExecuteAsync("length", new JsonObject { ["text"] = "x" }, _never));
        await Task.Delay(100);
        Assert.False(waiting.IsCompleted);

        _goOn.Release();
        await holding;
        Assert.Equal(1 << 20, (long?)await waiting);
    }

    // The reply is known, and its client does not take it: that must not be everybody's turn.
    [Fact]
    public async Task A_large_message_behind_replies_that_its_client_does_not_read_is_in_nobodys_way()
    {
        using var lazy = await ConnectAsync();
        var reply = new string('i', 4 << 20);
        var sending = SendAsync(
            lazy, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
            string.Concat(Enumerable.Repeat($"{{\"execute\":\"query-version\",\"id\":\"{reply}\"}}", 3)));

        await using var other = await QmpClient.OpenAsync(new NetworkStream(await ConnectAsync(), ownsSocket: true), [], _never);
        for (var i = 0; i < 3; i++)
            Assert.Equal(1 << 20, (long?)await other.ExecuteAsync("length", new JsonObject { ["text"] = new string('x', 1 << 20) }, _never));

        lazy.Dispose();
        await Task.WhenAny(sending);
        await Waiting.UntilAsync(() => _budget.Left == BytesMax);
    }

    private static async Task SendAsync(Socket socket, params string[] texts)
    {
        foreach (var bytes in texts.Select(Encoding.ASCII.GetBytes))
            for (var sent = 0; sent < bytes.Length;)
                sent += await socket.SendAsync(bytes.AsMemory(sent));
    }

    private static async Task<List<string?>> LinesAsync(Socket socket, int count)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        using var reader = new StreamReader(new NetworkStream(socket), leaveOpen: true);
        List<string?> lines = [];
        for (var i = 0; i < count; i++)
            lines.Add(await reader.ReadLineAsync(limit.Token));
        return lines;
    }

    private async Task<Socket> ConnectAsync()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
        listener.Listen();
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndPoint!);
        _serving.Add(_server.ServeAsync(new NetworkStream(await listener.AcceptAsync(), ownsSocket: true), _ending.Token));
        return client;
    }
}
