using System.Net.Sockets;
using System.Text;

namespace BitmapLedger.Contracts.Services;

/// <summary>
/// What a program tells the service manager that started it (sd_notify(3)): one datagram to the socket that
/// <c>NOTIFY_SOCKET</c> names. Without that variable nothing is sent.
/// </summary>
public static class ServiceNotice
{
    /// <summary>Names the socket; it is not for the programs that the notified one starts.</summary>
    public const string Variable = "NOTIFY_SOCKET";

    /// <summary>Clients may connect.</summary>
    /// <param name="status">One line for people.</param>
    public static void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    /// <summary>The program has been told to end and is about to.</summary>
    public static void Stopping() => Send("STOPPING=1");

    private static void Send(string text)
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 1 } name)
            return;
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            // An @ stands for the zero byte of Linux's abstract names.
            var path = name[0] == '@' ? "\0" + name[1..] : name;
            socket.SendTo(Encoding.UTF8.GetBytes(text), new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException)
        {
            // A manager that does not listen misses a notice; what is served does not depend on it.
        }
    }
}
