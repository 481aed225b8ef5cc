using System.Text;

namespace BitmapLedger.Qmp.Serving;

/// <summary>
/// What waits to be sent to one client, bounded by bytes: a client that does not read takes no more memory than this and one
/// message. Any number of threads write, one reads.
/// </summary>
internal sealed class OutgoingMessages
{
    /// <summary>Bytes that may wait; a single message may be larger.</summary>
    public const int BytesMax = 1 << 20;

    private readonly Lock _lock = new();
    private readonly Queue<byte[]> _waiting = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _bytes;
    private bool _completed;

    /// <summary>Puts a message behind the others, once there is room for it.</summary>
    /// <param name="message">ASCII, without the end of the line.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async Task WriteAsync(string message, CancellationToken cancellation)
    {
        var bytes = Encode(message);
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (TryPut(bytes))
                    return;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellation);
        }
    }

    /// <summary>Puts a message behind the others.</summary>
    /// <param name="message">ASCII, without the end of the line.</param>
    /// <returns>False when there is no room for it.</returns>
    public bool TryWrite(string message)
    {
        lock (_lock)
            return TryPut(Encode(message));
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

    /// <summary>The next message; it takes its room until <see cref="Sent"/>.</summary>
    /// <returns>Null when there will be none.</returns>
    public async Task<byte[]?> ReadAsync(CancellationToken cancellation)
    {
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_waiting.TryDequeue(out var message))
                    return message;
                if (_completed)
                    return null;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellation);
        }
    }

    /// <summary>A message is on its way and takes no room here any more.</summary>
    public void Sent(byte[] message)
    {
        lock (_lock)
        {
            _bytes -= message.Length;
            Tell();
        }
    }

    private static byte[] Encode(string message) => Encoding.ASCII.GetBytes(message + "\r\n");

    private bool TryPut(byte[] message)
    {
        // What comes after the end has no reader.
        if (_completed)
            return true;
        if (_bytes > 0 && _bytes + message.Length > BytesMax)
            return false;
        _waiting.Enqueue(message);
        _bytes += message.Length;
        Tell();
        return true;
    }

    private void Tell()
    {
        _changed.SetResult();
        _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
