using System.Diagnostics;
using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>Accepts clients and gives each a thread of its own.</summary>
internal sealed class NbdServer(VolumeSet volumes, LedgerContexts contexts, AgentLog log) : IExportListener
{
    private const int ConnectionsMax = 1024;

    /// <summary>A client whose requests do not end within this is cut off without its replies.</summary>
    private static readonly TimeSpan _drainLimit = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly Dictionary<Socket, Client> _clients = [];
    private readonly List<NbdListener> _listeners = [];
    private ExtraListener? _extra;
    private long _accepted;

    /// <summary>Listens on what was handed over and on <paramref name="uris"/>.</summary>
    /// <param name="uris">Where else; when empty and nothing was handed over, on <paramref name="otherwise"/>.</param>
    /// <param name="otherwise">The default.</param>
    public void Listen(IReadOnlyList<NbdUri> uris, NbdUri otherwise)
    {
        _listeners.AddRange(NbdListener.Inherited());
        foreach (var uri in _listeners.Count + uris.Count == 0 ? [otherwise] : uris)
            _listeners.Add(NbdListener.Open(uri));
        volumes.Listeners = [.. _listeners.Select(l => l.Uri.ToString())];
        foreach (var listener in _listeners)
            new Thread(() => Accept(listener, volumes)) { IsBackground = true, Name = "accept" }.Start();
    }

    /// <summary>Ends the connections of a volume and waits for them.</summary>
    public void Drop(Guid volumeId) => Drop(c => c.Export?.Volume.Spec.Id == volumeId);

    /// <inheritdoc />
    public NbdUri Listen(NbdUri uri, long connectionsMax, IExportSource offered)
    {
        var extra = new ExtraListener(NbdListener.Open(uri), connectionsMax, offered);
        _extra = extra;
        new Thread(() => Accept(extra.Listener, offered, extra.Room)) { IsBackground = true, Name = "accept" }.Start();
        return extra.Listener.Uri;
    }

    /// <inheritdoc />
    public void Unlisten()
    {
        if (_extra is not { } extra)
            return;
        _extra = null;
        extra.Listener.Dispose();
        extra.Room?.Close();
        Cut(c => ReferenceEquals(c.Offered, extra.Offered));
        if (extra.Listener.Uri.Socket is { } path)
            File.Delete(path);
    }

    /// <inheritdoc />
    public bool IsUsed(ITrackedExport export)
    {
        lock (_lock)
            return _clients.Values.Any(c => ReferenceEquals(c.Connection.Export, export));
    }

    /// <inheritdoc />
    public void Cut(ITrackedExport export) => Cut(c => ReferenceEquals(c.Export, export));

    /// <inheritdoc />
    public void Drop(ITrackedExport export) => Drop(c => ReferenceEquals(c.Export, export));

    /// <summary>Ends everything in order.</summary>
    public void Stop()
    {
        foreach (var listener in _listeners)
            listener.Dispose();
        volumes.StopReserving();
        Unlisten();
        Drop(_ => true);
    }

    private List<Client> Chosen(Func<ClientConnection, bool> chosen)
    {
        lock (_lock)
            return [.. _clients.Values.Where(c => chosen(c.Connection))];
    }

    private void Cut(Func<ClientConnection, bool> chosen)
    {
        foreach (var client in Chosen(chosen))
            client.Connection.Abort();
    }

    private void Drop(Func<ClientConnection, bool> chosen)
    {
        var ending = Chosen(chosen);
        foreach (var client in ending)
            client.Connection.StopReceiving();
        // One limit for all of them: many that do not read their replies must not add up.
        var started = Stopwatch.GetTimestamp();
        foreach (var client in ending)
        {
            var left = _drainLimit - Stopwatch.GetElapsedTime(started);
            if (!client.Thread.Join(left > TimeSpan.Zero ? left : TimeSpan.Zero))
                client.Connection.Abort();
        }
    }

    private void Accept(NbdListener listener, IExportSource offered, Room? room = null)
    {
        while (room?.Enter() != false && listener.Accept(log.Line) is { } socket)
        {
            lock (_lock)
            {
                if (_clients.Count >= ConnectionsMax && !MakeRoom())
                {
                    log.Line($"a client was turned away: {ConnectionsMax} are connected");
                    socket.Dispose();
                    room?.Leave();
                    continue;
                }

                var connection = new ClientConnection(socket, offered, contexts, log);
                var thread = new Thread(() => Serve(socket, connection, room)) { IsBackground = true, Name = "nbd" };
                _clients.Add(socket, new(thread, connection, _accepted++));
                thread.Start();
            }
        }
    }

    /// <summary>Whoever connects and never says what for must not keep others out: the oldest of them goes.</summary>
    private bool MakeRoom()
    {
        if (_clients.Where(c => c.Value.Connection.Export is null).MinBy(c => c.Value.Order) is not { Key: { } socket } oldest)
            return false;
        log.Line($"a client that has chosen no export was turned away for a new one: {ConnectionsMax} are connected");
        _clients.Remove(socket);
        oldest.Value.Connection.StopReceiving();
        return true;
    }

    private void Serve(Socket socket, ClientConnection connection, Room? room)
    {
        try
        {
            connection.Run();
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // A client that goes away without a word has done nothing wrong.
        }
        finally
        {
            lock (_lock)
                _clients.Remove(socket);
            socket.Dispose();
            room?.Leave();
        }
    }

    /// <summary>Where block exports are offered.</summary>
    private sealed class ExtraListener(NbdListener listener, long connectionsMax, IExportSource offered)
    {
        public NbdListener Listener { get; } = listener;

        public IExportSource Offered { get; } = offered;

        public Room? Room { get; } = connectionsMax == 0 ? null : new(connectionsMax);
    }

    private sealed record Client(Thread Thread, ClientConnection Connection, long Order);
}
