using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace BitmapLedger.Agent;

/// <summary>Who is at the other end of a socket, as the journal names it.</summary>
internal static class Peer
{
    private const int SocketLevel = 1;
    private const int PeerCredentials = 17;

    public static string Name(Socket socket)
    {
        if (socket.AddressFamily != AddressFamily.Unix)
            return ((IPEndPoint)socket.RemoteEndPoint!).ToString();
        Span<byte> credentials = stackalloc byte[12];
        socket.GetRawSocketOption(SocketLevel, PeerCredentials, credentials);
        return $"unix:pid={BinaryPrimitives.ReadInt32LittleEndian(credentials)}," +
            $"uid={BinaryPrimitives.ReadInt32LittleEndian(credentials[4..])}";
    }
}
