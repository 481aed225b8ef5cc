using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>
/// Sends the replies of a connection. Reads that must wait for the disk are done by a worker, which is started when the
/// first one comes; its replies and those of the connection's thread go out whole, one after the other.
/// </summary>
internal sealed class ReplySender(Socket socket, ReplyBuffer replies) : IDisposable
{
    /// <summary>Reads waiting for the disk; the connection's thread does further ones itself.</summary>
    private const int WaitingMax = 64;

    private readonly Lock _sending = new();
    private readonly Queue<Waiting> _waiting = new();
    private readonly ReplyBuffer _late = new(64 << 10);
    private Thread? _worker;
    private bool _finishing;

    public ReplyBuffer Replies => replies;

    public void Send()
    {
        if (replies.Length == 0)
            return;
        Send(replies);
    }

    public void ReadLater(TrackedVolume volume, in NbdRequest request, bool structured)
    {
        var waiting = new Waiting(volume, request, structured);
        lock (_waiting)
        {
            if (_waiting.Count < WaitingMax)
            {
                _waiting.Enqueue(waiting);
                Monitor.Pulse(_waiting);
                if (_worker is null)
                {
                    _worker = new Thread(Work) { IsBackground = true, Name = "nbd-read" };
                    _worker.Start();
                }

                return;
            }
        }

        Read(waiting, replies);
    }

    /// <summary>Waits until the reads under way are answered.</summary>
    public void FinishReads()
    {
        lock (_waiting)
        {
            _finishing = true;
            Monitor.Pulse(_waiting);
        }

        _worker?.Join();
    }

    public void Dispose() => FinishReads();

    private void Work()
    {
        try
        {
            while (Next() is { } waiting)
            {
                Read(waiting, _late);
                Send(_late);
            }
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // The client went away; its thread notices by itself.
        }
    }

    private Waiting? Next()
    {
        lock (_waiting)
        {
            while (_waiting.Count == 0)
            {
                if (_finishing)
                    return null;
                Monitor.Wait(_waiting);
            }

            return _waiting.Dequeue();
        }
    }

    /// <summary>Sends replies whole, and empties their buffer.</summary>
    public void Send(ReplyBuffer from)
    {
        lock (_sending)
        {
            var left = from.Written;
            while (left.Length > 0)
                left = left[socket.Send(left)..];
        }

        from.Clear();
    }

    private static void Read(in Waiting waiting, ReplyBuffer target)
    {
        var request = waiting.Request;
        var before = target.Length;
        ReadReply.Header(target, request, waiting.Structured);
        var errno = waiting.Volume.Read((long)request.Offset, target.Take((int)request.Length));
        if (errno == 0)
            return;
        target.Untake(target.Length - before);
        ReadReply.Error(
            target, request.Cookie, errno, $"reading {request.Length} bytes at {request.Offset} failed",
            waiting.Structured);
    }

    private readonly record struct Waiting(TrackedVolume Volume, NbdRequest Request, bool Structured);
}
