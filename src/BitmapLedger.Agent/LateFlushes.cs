using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>
/// What a connection's client wants durable before the reply. A worker waits for the disk, so that the requests behind go
/// on, and one flush answers all that have come meanwhile. The worker is started when the first one comes; allocates
/// nothing after its largest crowd. <see cref="Add"/> and <see cref="Finish"/> belong to the connection's thread.
/// </summary>
internal sealed class LateFlushes(TrackedVolume volume, ReplySender sender, bool structured)
{
    /// <summary>Most that wait; the connection's thread does further ones itself, and so stops receiving.</summary>
    private const int WaitingMax = 1024;

    private readonly object _turn = new();
    private readonly ReplyBuffer _replies = new(4 << 10);
    private ulong[] _waiting = new ulong[32];
    private ulong[] _served = new ulong[32];
    private int _count;
    private Thread? _worker;
    private bool _finishing;

    /// <summary>Answers a request once all that was replied to, and all that was written before this call, is
    /// durable.</summary>
    public void Add(ulong cookie)
    {
        lock (_turn)
        {
            if (_count < WaitingMax)
            {
                if (_count == _waiting.Length)
                    Array.Resize(ref _waiting, 2 * _count);
                _waiting[_count++] = cookie;
                Monitor.Pulse(_turn);
                if (_worker is null)
                {
                    _worker = new Thread(Work) { IsBackground = true, Name = "nbd-flush" };
                    _worker.Start();
                }

                return;
            }
        }

        Answer(sender.Replies, cookie, volume.Flush());
    }

    /// <summary>Waits until those under way are answered.</summary>
    public void Finish()
    {
        lock (_turn)
        {
            _finishing = true;
            Monitor.Pulse(_turn);
        }

        _worker?.Join();
    }

    private void Work()
    {
        try
        {
            while (Next() is var count and > 0)
            {
                var errno = volume.Flush();
                foreach (var cookie in _served.AsSpan(0, count))
                    Answer(_replies, cookie, errno);
                sender.Send(_replies);
            }
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // The client went away; its thread notices by itself.
        }
    }

    private int Next()
    {
        lock (_turn)
        {
            while (_count == 0)
            {
                if (_finishing)
                    return 0;
                Monitor.Wait(_turn);
            }

            (_waiting, _served) = (_served, _waiting);
            var count = _count;
            _count = 0;
            return count;
        }
    }

    private void Answer(ReplyBuffer replies, ulong cookie, int errno)
    {
        if (errno == 0)
            replies.Simple(cookie, 0);
        else
            ReadReply.Error(replies, cookie, errno, "the flush failed", structured);
    }
}
