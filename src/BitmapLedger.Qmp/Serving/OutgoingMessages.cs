using System.Text;

namespace BitmapLedger.Qmp.Serving;

/// <summary>
/// What waits to be sent to one client, bounded by bytes: a client that does not read takes no more memory than replies and
/// events may, and one message. Events are counted apart, so that a large reply on its way leaves room for them. Any number
/// of threads write, one reads.
/// </summary>
internal sealed class OutgoingMessages
{
    /// <summary>Bytes of replies that may wait, and bytes of events; a single message may be larger.</summary>
    public const int BytesMax = 1 << 20;

    private readonly Lock _lock = new();
    private readonly Queue<OutgoingMessage> _waiting = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _replyBytes;
    private long _eventBytes;
    private bool _completed;

    /// <summary>Puts a reply behind the others, once there is room for it.</summary>
    /// <param name="message">ASCII, without the end of the line.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async Task WriteAsync(string message, CancellationToken cancellation)
    {
        var reply = Encode(message, isEvent: false);
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (TryPut(reply, ref _replyBytes))
                    return;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellation);
        }
    }

    /// <summary>Puts an event behind the others.</summary>
    /// <param name="message">ASCII, without the end of the line.</param>
    /// <returns>False when there is no room for it.</returns>
    public bool TryWrite(string message)
    {
        lock (_lock)
            return TryPut(Encode(message, isEvent: true), ref _eventBytes);
    }

    /// <summary>Nothing is put behind the others any more; what waits can still be read.</summary>
    public void Complete()
    {
        lock (_lock)
        {
            _completed = true;
            Tell();
        }
    }

    /// <summary>The next message; a reply takes its room until <see cref="Sent"/>, an event while it waits.</summary>
    /// <returns>Null when there will be none.</returns>
    public async Task<OutgoingMessage?> ReadAsync(CancellationToken cancellation)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_waiting.TryDequeue(out var message))
                {
                    if (message.IsEvent)
                        _eventBytes -= message.Bytes.Length;
                    return message;
                }

                if (_completed)
                    return null;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellation);
        }
    }

    /// <summary>A message is on its way and takes no room here any more.</summary>
    public void Sent(OutgoingMessage message)
    {
        if (message.IsEvent)
            return;
        lock (_lock)
        {
            _replyBytes -= message.Bytes.Length;
            Tell();
        }
    }

    private static OutgoingMessage Encode(string message, bool isEvent) => new(Encoding.ASCII.GetBytes(message + "\r\n"), isEvent);

    private bool TryPut(OutgoingMessage message, ref long waiting)
    {
        // What comes after the end has no reader.
        if (_completed)
            return true;
        if (waiting > 0 && waiting + message.Bytes.Length > BytesMax)
            return false;
        _waiting.Enqueue(message);
        waiting += message.Bytes.Length;
        Tell();
        return true;
    }

    private void Tell()
    {
        _changed.SetResult();
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
