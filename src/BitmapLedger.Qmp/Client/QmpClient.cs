using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using BitmapLedger.Qmp.Json;

namespace BitmapLedger.Qmp.Client;

/// <summary>
/// A client of any QMP server. Commands may be sent while others are under way: each carries an id of its own. Any number
/// of threads.
/// </summary>
public sealed class QmpClient : IAsyncDisposable
{
    /// <summary>Events that nobody has read yet; the oldest go when there are more.</summary>
    private const int EventsMax = 10_000;

    private readonly Stream _stream;
    private readonly SemaphoreSlim _sending = new(1);
    private readonly ConcurrentDictionary<long, TaskCompletionSource<JsonObject>> _open = [];
    private readonly TaskCompletionSource<JsonObject> _greeted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<QmpEvent> _events =
        Channel.CreateBounded<QmpEvent>(new BoundedChannelOptions(EventsMax) { FullMode = BoundedChannelFullMode.DropOldest });
    private readonly CancellationTokenSource _closing = new();
    private Task _receiving = Task.CompletedTask;
    private Exception? _lost;
    private long _lastId;

    private QmpClient(Stream stream) => _stream = stream;

    /// <summary>What the server said of itself: the value of <c>QMP</c>.</summary>
    public JsonObject Greeting { get; private set; } = [];

    /// <summary>Events, in order, as they come; ends when the connection does. One reader.</summary>
    public IAsyncEnumerable<QmpEvent> Events => _events.Reader.ReadAllAsync();

    /// <summary>Connects to a unix socket, awaits the greeting and negotiates.</summary>
    /// <param name="path">Path of the socket.</param>
    /// <param name="enable">Capabilities to use; the server must have offered them.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    /// <exception cref="QmpException">The server does not want to.</exception>
    /// <exception cref="IOException">The server went away.</exception>
    public static async Task<QmpClient> ConnectAsync(string path, IReadOnlyList<string> enable, CancellationToken cancellation)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellation);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        return await OpenAsync(new NetworkStream(socket, ownsSocket: true), enable, cancellation);
    }

    /// <summary>The same over a stream, which is taken over.</summary>
    /// <param name="stream">Both ways.</param>
    /// <param name="enable">Capabilities to use.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public static async Task<QmpClient> OpenAsync(Stream stream, IReadOnlyList<string> enable, CancellationToken cancellation)
    {
        var client = new QmpClient(stream);
        client._receiving = client.ReceiveAsync();
        try
        {
            client.Greeting = (JsonObject)(await client._greeted.Task.WaitAsync(cancellation))["QMP"]!;
            JsonObject? arguments = enable.Count == 0 ? null : new() { ["enable"] = new JsonArray([.. enable.Select(e => (JsonNode)e)]) };
            await client.ExecuteAsync("qmp_capabilities", arguments, cancellation);
            return client;
        }
        catch
        {
            await client.DisposeAsync();
            throw;
        }
    }

    /// <summary>Sends a command and awaits what it returns.</summary>
    /// <param name="command">Its name.</param>
    /// <param name="arguments">Its arguments; null for none.</param>
    /// <param name="cancellation">Ends the waiting; the server may carry the command out all the same.</param>
    /// <exception cref="QmpException">The command was turned down.</exception>
    /// <exception cref="IOException">The connection is lost, and whether the command was carried out is not known.</exception>
    public Task<JsonNode?> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancellation)
    {
        var message = new JsonObject { ["execute"] = command };
        if (arguments is not null)
            message["arguments"] = arguments;
        return SendAsync(message, cancellation);
    }

    /// <summary>Sends a message that may have further members; its id is the client's.</summary>
    /// <param name="message">With <c>execute</c> or <c>exec-oob</c>; taken over.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async Task<JsonNode?> SendAsync(JsonObject message, CancellationToken cancellation)
    {
        var reply = await AskAsync(message, cancellation);
        if (reply.TryGetPropertyValue("return", out var value))
            return value;
        var error = reply["error"] as JsonObject;
        throw new QmpException(
            Enum.TryParse<QmpErrorClass>((string?)error?["class"], out var errorClass) ? errorClass : QmpErrorClass.GenericError,
            (string?)error?["desc"] ?? WireText.Write(reply));
    }

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        await _stream.DisposeAsync();
        await _receiving.WaitAsync(CancellationToken.None);
        _closing.Dispose();
        _sending.Dispose();
    }

    private async Task<JsonObject> AskAsync(JsonObject message, CancellationToken cancellation)
    {
        var id = Interlocked.Increment(ref _lastId);
        message["id"] = id;
        var answer = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        _open[id] = answer;
        try
        {
            if (_lost is { } lost)
                throw Lost(lost);
            var bytes = Encoding.ASCII.GetBytes(WireText.Write(message) + "\n");
            await _sending.WaitAsync(cancellation);
            try
            {
                // Half a message would spoil the stream: what was begun is sent.
                await _stream.WriteAsync(bytes, _closing.Token);
            }
            finally
            {
                _sending.Release();
            }

            return await answer.Task.WaitAsync(cancellation);
        }
        finally
        {
            _open.TryRemove(id, out _);
        }
    }

    private async Task ReceiveAsync()
    {
        Exception end = new EndOfStreamException("The QMP server closed the connection.");
        try
        {
            using var messages = new JsonStream(new MessageBudget(MessageBudget.BytesDefault).Open(() => { }));
            var buffer = new byte[64 << 10];
            List<JsonInput> received = [];
            int count;
            while ((count = await _stream.ReadAsync(buffer, _closing.Token)) > 0)
            {
                messages.Feed(buffer.AsSpan(0, count), received);
                received.ForEach(Take);
                received.Clear();
            }
        }
        catch (Exception broken) when (broken is IOException or OperationCanceledException or ObjectDisposedException)
        {
            end = broken;
        }

        _lost = end;
        _events.Writer.TryComplete();
        _greeted.TrySetException(Lost(end));
        foreach (var answer in _open.Values)
            answer.TrySetException(Lost(end));
    }

    private void Take(JsonInput input)
    {
        if (input.Value is not JsonObject message)
            return;
        if (message.ContainsKey("QMP"))
            _greeted.TrySetResult(message);
        else if (QmpEvent.Of(message) is { } happened)
            _events.Writer.TryWrite(happened);
        else if (message["id"] is JsonValue value && value.TryGetValue<long>(out var id) && _open.TryRemove(id, out var answer))
            answer.TrySetResult(message);
    }

    private static IOException Lost(Exception why) => new($"The connection to the QMP server is lost: {why.Message}", why);
}
