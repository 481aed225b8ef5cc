using System.Net;
using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;
using BitmapLedger.WritePath.Control;

namespace BitmapLedger.Agent;

/// <summary>One place where clients connect.</summary>
internal sealed class NbdListener : IDisposable
{
    /// <summary>How long a shared socket is waited on before the listener looks whether it was closed.</summary>
    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(200);

    private readonly Socket _socket;
    private readonly bool _isShared;
    private readonly CancellationTokenSource _closed = new();

    private NbdListener(Socket socket, NbdUri uri, bool isShared = false)
    {
        _socket = socket;
        _isShared = isShared;
        Uri = uri;
    }

    /// <summary>Where it listens, with the port that the system picked.</summary>
    public NbdUri Uri { get; }

    /// <summary>Those that were handed over.</summary>
    public static IEnumerable<NbdListener> Inherited() =>
        InheritedSockets.Take().Select(s => new NbdListener(s.Socket, s.Uri, isShared: true));

    public static NbdListener Open(NbdUri uri)
    {
        if (uri.Socket is not null)
            return new(UnixListener.Listen(uri.Socket), uri);
        var host = uri.Host!.Trim('[', ']');
        var address = host == "localhost" ? IPAddress.Loopback : IPAddress.TryParse(
            host, out var parsed) ? parsed : null;
        RequireLoopback(uri, address);
        var socket = new Socket(address!.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(address, uri.Port));
            socket.Listen();
            return new(socket, uri with { Port = ((IPEndPoint)socket.LocalEndPoint!).Port });
        }
        catch (SocketException refusal)
        {
            socket.Dispose();
            throw new BackendException("failed", $"Cannot listen on {uri}: {refusal.Message}; choose another port");
        }
    }

    /// <summary>The URI itself.</summary>
    /// <exception cref="BackendException">It lies beyond loopback.</exception>
    public static NbdUri RequireLoopback(NbdUri uri, IPAddress? address) => address is not null && IPAddress.IsLoopback(address)
        ? uri
        : throw new BackendException(
            "unsupported", $"Cannot listen on {uri}: beyond loopback NBD needs TLS, which is not built yet; use 127.0.0.1 or a unix socket");

    /// <summary>The next client; null when the listener was closed.</summary>
    public Socket? Accept(Action<string> log) => Accepting.Next(_socket, _isShared ? _look : null, log, _closed.Token);

    /// <summary>
    /// Accepts nobody any more. A socket that was handed over is only let go: closing it here would shut it down for its
    /// owner too, and turn clients away that are to wait for the next Agent.
    /// </summary>
    public void Dispose()
    {
        _closed.Cancel();
        if (!_isShared)
            _socket.Dispose();
    }
}
