using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>The link to the Agent's control socket: opened by the Server, opened again whenever it ends.</summary>
/// <param name="settings">Where the socket is.</param>
public sealed class AgentLink(LedgerSettings settings) : IAgent, IDisposable
{
    /// <summary>A question that takes longer than this will not be answered.</summary>
    private static readonly TimeSpan _answerLimit = TimeSpan.FromSeconds(60);

    private readonly SemaphoreSlim _sending = new(1);
    private readonly ConcurrentDictionary<long, TaskCompletionSource<ControlReply>> _open = new();
    private NetworkStream? _stream;
    private long _lastId;

    /// <inheritdoc />
    public bool IsConnected => Volatile.Read(ref _stream) is not null;

    /// <inheritdoc />
    public string BitsDirectory => settings.BitsDirectory;

    /// <summary>Connects, says hello, calls back, and serves the link until it ends.</summary>
    /// <param name="onConnected">Called with what the Agent said; answers come in meanwhile.</param>
    /// <param name="onAsked">Called with what the Agent asks; any number at a time.</param>
    /// <param name="cancellation">Ends the link.</param>
    public async Task RunAsync(
        Func<Welcome, CancellationToken, Task> onConnected, Func<ControlRequest, CancellationToken, Task<ControlReply>> onAsked,
        CancellationToken cancellation)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(settings.ControlSocket), cancellation);
        // Whoever closes the stream ends the read that waits in it: the agent may have nothing to say for ever.
        await using var stream = new NetworkStream(socket, ownsSocket: true);
        Volatile.Write(ref _stream, stream);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var reading = ReadAsync(stream, onAsked, linked.Token);
        var connected = Task.CompletedTask;
        try
        {
            var welcome = (Welcome)await AskAsync(new Hello(ControlFrame.ProtocolVersion, Answers: true), linked.Token);
            connected = onConnected(welcome, linked.Token);
            await Task.WhenAny(reading, connected).Unwrap();
            await reading;
        }
        finally
        {
            Volatile.Write(ref _stream, null);
            await linked.CancelAsync();
            foreach (var id in _open.Keys)
                if (_open.TryRemove(id, out var waiting))
                    waiting.TrySetException(Away());
            // Two meetings at once would undo each other.
            await connected.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <inheritdoc />
    public async Task<ControlReply> AskAsync(ControlRequest request, CancellationToken cancellation)
    {
        var stream = Volatile.Read(ref _stream) ?? throw Away();
        var id = Interlocked.Increment(ref _lastId);
        var waiting = new TaskCompletionSource<ControlReply>(TaskCreationOptions.RunContinuationsAsynchronously);
        _open[id] = waiting;
        try
        {
            await SendAsync(stream, new(id, request, Reply: null), cancellation);
            return await waiting.Task.WaitAsync(_answerLimit, cancellation) is Failed failed
                ? throw new LedgerException(failed.Code, failed.Message)
                : await waiting.Task;
        }
        catch (Exception gone) when (gone is IOException or TimeoutException or ObjectDisposedException)
        {
            throw Away();
        }
        finally
        {
            _open.TryRemove(id, out _);
        }
    }

    /// <inheritdoc />
    public void MeetAgain() => Volatile.Read(ref _stream)?.Close();

    /// <inheritdoc />
    public void Dispose() => _sending.Dispose();

    private static LedgerException Away() =>
        new(ErrorCode.Busy, "the agent does not answer", "it is started again by bml serve; try again");

    private async Task SendAsync(NetworkStream stream, ControlFrame frame, CancellationToken cancellation)
    {
        var bytes = frame.Encode();
        await _sending.WaitAsync(cancellation);
        try
        {
            await stream.WriteAsync(bytes, cancellation);
        }
        finally
        {
            _sending.Release();
        }
    }

    private async Task AnswerAsync(
        NetworkStream stream, long id, ControlRequest question, Func<ControlRequest, CancellationToken, Task<ControlReply>> onAsked,
        CancellationToken cancellation)
    {
        var reply = await onAsked(question, cancellation);
        try
        {
            await SendAsync(stream, new(id, Request: null, reply), cancellation);
        }
        catch (Exception gone) when (gone is IOException or ObjectDisposedException or OperationCanceledException)
        {
            // Whoever asked is gone, or has lost the link and asks again.
            if (reply is BitsFile { File: var file })
                File.Delete(Path.Combine(BitsDirectory, file));
        }
    }

    private async Task ReadAsync(
        NetworkStream stream, Func<ControlRequest, CancellationToken, Task<ControlReply>> onAsked, CancellationToken cancellation)
    {
        var prefix = new byte[4];
        while (await stream.ReadAtLeastAsync(prefix, 4, throwOnEndOfStream: false, cancellation) == 4)
        {
            var length = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
            if (length > ControlFrame.BytesMax)
                throw new IOException($"the agent sent a frame of {length} bytes");
            var bytes = new byte[length];
            await stream.ReadExactlyAsync(bytes, cancellation);
            var frame = JsonSerializer.Deserialize(bytes, ControlJson.Default.ControlFrame);
            if (frame is { Reply: { } reply } && _open.TryGetValue(frame.Id, out var waiting))
                waiting.TrySetResult(reply);
            else if (frame is { Request: { } question })
                _ = AnswerAsync(stream, frame.Id, question, onAsked, cancellation);
        }
    }
}
