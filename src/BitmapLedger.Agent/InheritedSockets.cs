using System.Globalization;
using System.Net;
using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.Agent;

/// <summary>
/// Listening sockets that a service manager hands over (sd_listen_fds(3)): <c>LISTEN_FDS</c> of them from descriptor 3
/// on. They outlive the Agent, so a client that connects while it is restarted waits and is not turned away.
/// </summary>
internal static class InheritedSockets
{
    private const int First = 3;
    private const int Most = 64;

    /// <summary>The sockets, ready to accept; none when nobody handed any to this process.</summary>
    /// <exception cref="BackendException">One of them is not what NBD can be served on.</exception>
    public static IReadOnlyList<(Socket Socket, NbdUri Uri)> Take()
    {
        // Meant for another process: this one has only inherited the variable.
        if (Number("LISTEN_PID") != Environment.ProcessId)
            return [];
        var count = Number("LISTEN_FDS");
        return count is >= 0 and <= Most
            ? [.. Enumerable.Range(First, count.Value).Select(Take)]
            : throw new BackendException(
                "bad-argument", $"LISTEN_FDS is '{Environment.GetEnvironmentVariable("LISTEN_FDS")}'; 0 to {Most} sockets can be handed over");
    }

    private static (Socket Socket, NbdUri Uri) Take(int descriptor)
    {
        try
        {
            var socket = new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
            return (socket, UriOf(socket, descriptor));
        }
        catch (SocketException refusal)
        {
            throw new BackendException("bad-argument", $"descriptor {descriptor} is no socket: {refusal.Message}");
        }
    }

    private static NbdUri UriOf(Socket socket, int descriptor) => socket.LocalEndPoint switch
    {
        UnixDomainSocketEndPoint unix => new(Host: null, 0, unix.ToString(), ""),
        IPEndPoint ip => NbdListener.RequireLoopback(new(ip.Address.ToString(), ip.Port, Socket: null, ""), ip.Address),
        _ => throw new BackendException("bad-argument", $"descriptor {descriptor} is neither a unix nor a TCP socket"),
    };

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : null;
}
