using System.Text.Json.Nodes;
using System.Threading.Channels;
using BitmapLedger.Qmp.Json;

namespace BitmapLedger.Qmp.Serving;

/// <summary>
/// One client. Its commands are answered in order, and nothing more is read while one is under way; with <c>oob</c> up to
/// eight wait, and those out of band are answered beside them, but for large ones, which have their turn among all clients.
/// Whoever does not read its replies waits for them alone; whoever does not read its events is turned away when they pile
/// up, and whoever dawdles over a large message when others need its room. A command that has begun is carried through even
/// when its client goes away; what is behind it is not begun.
/// </summary>
internal sealed class QmpConnection(Stream stream, QmpDispatcher dispatcher, MessageBudget budget)
{
    /// <summary>QMP_REQ_QUEUE_LEN_MAX of QEMU's monitor.</summary>
    private const int RequestsMax = 8;

    private const int ReceiveBytes = 16 << 10;

    /// <summary>How long a client that is to go has for taking its last reply.</summary>
    private static readonly TimeSpan _lastWord = TimeSpan.FromSeconds(1);

    private readonly OutgoingMessages _outgoing = new();
    private readonly Channel<Func<Task>> _requests = Channel.CreateBounded<Func<Task>>(RequestsMax);

    /// <summary>Serves until the client has gone, the server ends, or events pile up.</summary>
    public async Task RunAsync(CancellationToken ending)
    {
        using var gone = CancellationTokenSource.CreateLinkedTokenSource(ending);
        var sending = SendAsync(gone);
        var answering = AnswerQueueAsync(gone.Token);
        try
        {
            await SayAsync(dispatcher.Greet(), gone.Token);
            if (!await ReceiveAsync(gone.Token, ending))
            {
                gone.CancelAfter(_lastWord);
                await SayAsync(QmpDispatcher.Refuse("JSON token size limit exceeded: others need what this message held"), gone.Token);
            }

            _requests.Writer.Complete();
            await answering;
        }
        catch (Exception end) when (end is IOException or OperationCanceledException or ChannelClosedException or ObjectDisposedException)
        {
            // The client went away, or is to go.
        }
        finally
        {
            _requests.Writer.TryComplete();
            _outgoing.Complete();
            if (ending.IsCancellationRequested)
                gone.CancelAfter(_lastWord);
            await sending;
            await gone.CancelAsync();
            await answering.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Tells of an event, after whatever is being sent.</summary>
    public void Tell(string message)
    {
        // A send that waits for such a client ends with the stream.
        if (dispatcher.IsNegotiated && !_outgoing.TryWrite(message))
            stream.Dispose();
    }

    /// <summary>Reads and answers until the client has gone.</summary>
    /// <returns>False when it is to go: what it began to say was held too long, and others needed the room.</returns>
    private async Task<bool> ReceiveAsync(CancellationToken gone, CancellationToken ending)
    {
        using var reading = CancellationTokenSource.CreateLinkedTokenSource(gone);
        var share = budget.Open(() => End(reading));
        using var messages = new JsonStream(share);
        var buffer = new byte[ReceiveBytes];
        try
        {
            int count;
            while ((count = await stream.ReadAsync(buffer, reading.Token)) > 0)
            {
                var at = 0;
                while (TryEnd(messages, buffer.AsSpan(0, count), ref at))
                    await (messages.IsLarge ? TakeLargeAsync(messages, reading.Token, ending) : TakeAsync(messages.Read(), gone, ending));
            }

            return true;
        }
        catch (OperationCanceledException) when (share.IsRevoked && !gone.IsCancellationRequested)
        {
            return false;
        }
    }

    private static void End(CancellationTokenSource reading)
    {
        try
        {
            // Not on this thread, which is somebody else's.
            _ = reading.CancelAsync();
        }
        catch (ObjectDisposedException)
        {
            // It has ended already.
        }
    }

    private static bool TryEnd(JsonStream messages, ReadOnlySpan<byte> received, ref int at)
    {
        var rest = received[at..];
        var isWhole = messages.TryEnd(ref rest);
        at = received.Length - rest.Length;
        return isWhole;
    }

    private Task TakeAsync(JsonInput message, CancellationToken gone, CancellationToken ending) =>
        !dispatcher.HasOob || dispatcher.IsOob(message)
            ? AnswerAsync(message, gone, ending)
            : _requests.Writer.WriteAsync(() => AnswerAsync(message, gone, ending), gone).AsTask();

    /// <summary>A large message is read when it is its turn to be answered, and nothing of this client before it is. It has its turn
    /// until its reply is known, and not until the client has taken that.</summary>
    private async Task TakeLargeAsync(JsonStream messages, CancellationToken waiting, CancellationToken ending)
    {
        if (!dispatcher.HasOob)
        {
            await AnswerLargeAsync();
            return;
        }

        // Whoever takes it first, the queue or whoever stops waiting for that, is alone with it.
        var taken = 0;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await _requests.Writer.WriteAsync(async () =>
        {
            if (Interlocked.Exchange(ref taken, 1) != 0)
                return;
            try
            {
                await AnswerLargeAsync();
            }
            finally
            {
                done.SetResult();
            }
        }, waiting);
        if (await Task.WhenAny(done.Task, Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, waiting)) != done.Task
            && Interlocked.Exchange(ref taken, 1) == 0)
            waiting.ThrowIfCancellationRequested();
        await done.Task;

        async Task AnswerLargeAsync()
        {
            JsonObject reply;
            using (await budget.TurnAsync(waiting))
                reply = await dispatcher.AnswerAsync(messages.Read(), ending);
            await SayAsync(reply, waiting);
        }
    }

    private async Task AnswerQueueAsync(CancellationToken gone)
    {
        await foreach (var answer in _requests.Reader.ReadAllAsync(gone))
            await answer();
    }

    private async Task AnswerAsync(JsonInput message, CancellationToken gone, CancellationToken ending)
    {
        gone.ThrowIfCancellationRequested();
        await SayAsync(await dispatcher.AnswerAsync(message, ending), gone);
    }

    private Task SayAsync(JsonObject message, CancellationToken cancellation) =>
        _outgoing.WriteAsync(WireText.Write(message), cancellation);

    private async Task SendAsync(CancellationTokenSource gone)
    {
        try
        {
            while (await _outgoing.ReadAsync(gone.Token) is { } message)
            {
                await stream.WriteAsync(message.Bytes, gone.Token);
                _outgoing.Sent(message);
            }
        }
        catch (Exception end) when (end is IOException or OperationCanceledException or ObjectDisposedException)
        {
            await gone.CancelAsync();
        }
    }
}
