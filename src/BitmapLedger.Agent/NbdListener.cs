using System.Net;
using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;
using BitmapLedger.WritePath.Control;

namespace BitmapLedger.Agent;

/// <summary>One place where clients connect.</summary>
internal sealed class NbdListener : IDisposable
{
    private readonly Socket _socket;

    private NbdListener(Socket socket, NbdUri uri)
    {
        _socket = socket;
        Uri = uri;
    }

    /// <summary>Where it listens, with the port that the system picked.</summary>
    public NbdUri Uri { get; }

    /// <summary>Those that were handed over.</summary>
    public static IEnumerable<NbdListener> Inherited() =>
        InheritedSockets.Take().Select(s => new NbdListener(s.Socket, s.Uri));

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
    public Socket? Accept()
    {
        while (true)
        {
            try
            {
                return _socket.Accept();
            }
            catch (SocketException aborted) when (
                aborted.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
            {
                // The client went away between connecting and being accepted.
            }
            catch (Exception closed) when (closed is SocketException or ObjectDisposedException)
            {
                return null;
            }
        }
    }

    public void Dispose() => _socket.Dispose();
}
