using System.Text.Json.Nodes;
using System.Threading.Channels;
using BitmapLedger.Qmp.Json;

namespace BitmapLedger.Qmp.Serving;

/// <summary>
/// One client. Its commands are answered in order, and nothing more is read while one is under way; with <c>oob</c> up to
/// eight wait, and those out of band are answered beside them. Whoever does not read its replies waits for them alone;
/// whoever does not read its events is turned away when they pile up. A command that has begun is carried through even when
/// its client goes away; what is behind it is not begun.
/// </summary>
internal sealed class QmpConnection(Stream stream, QmpDispatcher dispatcher, MessageBudget budget)
{
    /// <summary>QMP_REQ_QUEUE_LEN_MAX of QEMU's monitor.</summary>
    private const int RequestsMax = 8;

    private const int ReceiveBytes = 16 << 10;

    private readonly OutgoingMessages _outgoing = new();
    private readonly Channel<JsonInput> _requests = Channel.CreateBounded<JsonInput>(RequestsMax);

    /// <summary>Serves until the client has gone, the server ends, or events pile up.</summary>
    public async Task RunAsync(CancellationToken ending)
    {
        using var gone = CancellationTokenSource.CreateLinkedTokenSource(ending);
        var sending = SendAsync(gone);
        var answering = AnswerQueueAsync(gone.Token, ending);
        try
        {
            await SayAsync(dispatcher.Greet(), gone.Token);
            await ReceiveAsync(gone.Token, ending);
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
                gone.CancelAfter(TimeSpan.FromSeconds(1));
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

    private async Task ReceiveAsync(CancellationToken gone, CancellationToken ending)
    {
        using var messages = new JsonStream(budget);
        var buffer = new byte[ReceiveBytes];
        int count;
        while ((count = await stream.ReadAsync(buffer, gone)) > 0)
        {
            var at = 0;
            while (Next(messages, buffer.AsSpan(0, count), ref at) is { } message)
            {
                if (!dispatcher.HasOob || dispatcher.IsOob(message))
                    await AnswerAsync(message, gone, ending);
                else
                    await _requests.Writer.WriteAsync(message, gone);
            }
        }
    }

    private static JsonInput? Next(JsonStream messages, ReadOnlySpan<byte> received, ref int at)
    {
        var rest = received[at..];
        var message = messages.Next(ref rest);
        at = received.Length - rest.Length;
        return message;
    }

    private async Task AnswerQueueAsync(CancellationToken gone, CancellationToken ending)
    {
        await foreach (var message in _requests.Reader.ReadAllAsync(gone))
            await AnswerAsync(message, gone, ending);
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
