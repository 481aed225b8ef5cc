using System.Net.Sockets;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// <c>run/control.sock</c>: one link at a time, the newest one counts. Frames are bounded before they are read, and links before
/// they have said hello; what is no frame ends its link and nothing else.
/// </summary>
public sealed class ControlServer : ILedger, IDisposable
{
    /// <summary>One counts, and its successor may be on its way; the others have nothing to say here. Each has a thread.</summary>
    private const int LinksMax = 16;

    private readonly Socket _listener;
    private readonly VolumeSet _volumes;
    private readonly Action<string> _log;
    private readonly Thread _accepting;
    private readonly CancellationTokenSource _closed = new();
    private readonly Lock _lock = new();
    private readonly List<ControlLink> _links = [];
    private ControlLink? _link;

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

    /// <inheritdoc />
    public LedgerQuestion Ask(ControlRequest question, TimeSpan limit)
    {
        if (Volatile.Read(ref _link) is not { Answers: true } link)
            return LedgerQuestion.Answered(new Failed("busy", "no server is connected"));
        try
        {
            return link.TryAsk(question, limit) ?? LedgerQuestion.Answered(new Failed("busy", "the server does not read"));
        }
        catch (Exception gone) when (gone is IOException or ObjectDisposedException or SocketException)
        {
            return LedgerQuestion.Answered(new Failed("busy", "the server went away"));
        }
    }

    private void Accept()
    {
        while (Accepting.Next(_listener, look: null, _log, _closed.Token) is { } socket)
        {
            var link = new ControlLink(socket, _volumes.Bits);
            lock (_lock)
            {
                if (_links.Count == LinksMax)
                    MakeRoom();
                _links.Add(link);
            }

            new Thread(() => Serve(link)) { IsBackground = true, Name = "control-link" }.Start();
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
            oldest.Send(new(0, Request: null, new Failed("busy", why)));
        }
        catch (Exception gone) when (gone is IOException or SocketException or ObjectDisposedException)
        {
            // It has left by itself.
        }

        oldest.Dispose();
    }

    private void Serve(ControlLink served)
    {
        // Whatever happens: who said something wrong waits for the end of the link.
        using var link = served;
        try
        {
            while (link.NextRequest() is { } frame)
            {
                if (frame.Request is Hello hello)
                    TakeOver(link, hello);
                else if (!ReferenceEquals(Volatile.Read(ref _link), link))
                    throw new InvalidDataException("a link begins with hello");
                link.Send(new(frame.Id, Request: null, _volumes.Handle(frame.Request!)));
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
                _links.Remove(link);
            _ = Interlocked.CompareExchange(ref _link, null, link);
        }
    }

    private void TakeOver(ControlLink link, Hello hello)
    {
        ControlLink? before;
        lock (_lock)
        {
            // One that was turned away meanwhile must not end the one that counts.
            ObjectDisposedException.ThrowIf(!_links.Contains(link), link);
            link.Answers = hello is { Protocol: ControlFrame.ProtocolVersion, Answers: true };
            before = Interlocked.Exchange(ref _link, link);
        }

        if (before is not null && !ReferenceEquals(before, link))
            before.Dispose();
    }
}
