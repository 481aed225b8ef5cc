using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// <c>run/control.sock</c>: one link at a time, the newest one counts. Frames are bounded before they are read, and links before
/// they have said hello; what is no frame ends its link and nothing else.
/// </summary>
public sealed class ControlServer : IDisposable
{
    /// <summary>One counts, and its successor may be on its way; the others have nothing to say here. Each has a thread.</summary>
    private const int LinksMax = 16;

    private readonly Socket _listener;
    private readonly VolumeSet _volumes;
    private readonly Action<string> _log;
    private readonly Thread _accepting;
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _lock = new();
    private readonly List<Socket> _links = [];
    private Socket? _link;

    /// <summary>Listens.</summary>
    /// <param name="path">Path of the socket.</param>
    /// <param name="volumes">Answers the requests.</param>
    /// <param name="log">Takes lines about links that ended badly.</param>
    public ControlServer(string path, VolumeSet volumes, Action<string> log)
    {
        _volumes = volumes;
        _log = log;
        _listener = UnixListener.Listen(path);
        _accepting = new Thread(Accept) { IsBackground = true, Name = "control" };
        _accepting.Start();
    }

    /// <summary>Ends the links and stops listening.</summary>
    public void Dispose()
    {
        _closed.Cancel();
        _listener.Dispose();
        _accepting.Join();
        lock (_lock)
            _links.ForEach(l => l.Dispose());
        _closed.Dispose();
    }

    private void Accept()
    {
        while (Accepting.Next(_listener, look: null, _log, _closed.Token) is { } socket)
        {
            lock (_lock)
            {
                if (_links.Count == LinksMax)
                    MakeRoom();
                _links.Add(socket);
            }

            new Thread(() => Serve(socket)) { IsBackground = true, Name = "control-link" }.Start();
        }
    }

    /// <summary>Whoever connects and says no hello must not keep a server out: the oldest of them goes, and is told.</summary>
    private void MakeRoom()
    {
        var index = _links.FindIndex(l => !ReferenceEquals(l, Volatile.Read(ref _link)));
        var oldest = _links[index];
        _links.RemoveAt(index);
        var why = $"a control link that had said no hello was turned away for a new one: there were {LinksMax}";
        _log(why);
        try
        {
            // Nobody else writes to it before its hello, and it was sent nothing yet: this does not wait.
            oldest.Send(new ControlFrame(0, Request: null, new Failed("busy", why)).Encode());
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // It has left by itself.
        }

        oldest.Dispose();
    }

    private void Serve(Socket socket)
    {
        // Whatever happens: who said something wrong waits for the end of the link.
        using var link = socket;
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            while (ReadFrame(stream) is { } frame)
            {
                if (frame.Request is Hello)
                    TakeOver(socket);
                else if (!ReferenceEquals(Volatile.Read(ref _link), socket))
                    throw new InvalidDataException("a link begins with hello");
                stream.Write(new ControlFrame(frame.Id, Request: null, _volumes.Handle(frame.Request!)).Encode());
            }
        }
        catch (Exception gone) when (gone is IOException or ObjectDisposedException or SocketException)
        {
            // The Server went away; the next one says hello.
        }
        catch (Exception failure)
        {
            // Guests write whatever a link says: a frame that is none, or lacks what it must have, ends this link only.
            _log($"control link closed: {failure.Message}");
        }
        finally
        {
            lock (_lock)
                _links.Remove(socket);
        }
    }

    private void TakeOver(Socket socket)
    {
        Socket? before;
        lock (_lock)
        {
            // One that was turned away meanwhile must not end the one that counts.
            ObjectDisposedException.ThrowIf(!_links.Contains(socket), socket);
            before = Interlocked.Exchange(ref _link, socket);
        }

        if (before is not null && !ReferenceEquals(before, socket))
            before.Dispose();
    }

    /// <summary>The next request; null at the end of the link.</summary>
    private static ControlFrame? ReadFrame(NetworkStream stream)
    {
        Span<byte> prefix = stackalloc byte[4];
        if (stream.ReadAtLeast(prefix, 4, throwOnEndOfStream: false) < 4)
            return null;
        var length = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
        if (length > ControlFrame.BytesMax)
            throw new InvalidDataException($"a frame of {length} bytes, more than {ControlFrame.BytesMax}");
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return JsonSerializer.Deserialize(bytes, ControlJson.Default.ControlFrame) is { Request: not null } frame
            ? frame
            : throw new InvalidDataException("a frame without a request");
    }
}
