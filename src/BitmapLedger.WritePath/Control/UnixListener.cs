using System.Net.Sockets;
using System.Text;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.WritePath.Control;

/// <summary>Unix sockets that only their user may connect to.</summary>
public static class UnixListener
{
    /// <summary>What the kernel takes, less the closing zero.</summary>
    private const int PathBytesMax = 107;

    private const int Backlog = 128;

    /// <summary>Listens at a path, replacing a socket that a killed process left.</summary>
    /// <exception cref="BackendException">The path is too long, or cannot be used.</exception>
    public static Socket Listen(string path)
    {
        if (Encoding.UTF8.GetByteCount(path) > PathBytesMax)
            throw new BackendException(
                "bad-argument", $"Socket path '{path}' is longer than {PathBytesMax} bytes; take a shorter data directory");
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            // Bound under another name and moved: nobody can connect before the mode is right.
            var next = path.Length + 1 <= PathBytesMax ? path + "~" : path;
            File.Delete(next);
            socket.Bind(new UnixDomainSocketEndPoint(next));
            File.SetUnixFileMode(next, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            socket.Listen(Backlog);
            File.Move(next, path, overwrite: true);
            return socket;
        }
        catch (Exception failure) when (failure is SocketException or IOException or UnauthorizedAccessException)
        {
            socket.Dispose();
            throw new BackendException("failed", $"Cannot listen on '{path}': {failure.Message}");
        }
    }
}
