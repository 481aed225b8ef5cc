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
        // Bound under another name and moved: nobody can connect before the mode is right.
        var next = Encoding.UTF8.GetByteCount(path) < PathBytesMax ? path + "~" : path;
        RefuseInUse(path);
        RefuseInUse(next);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
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

    /// <summary>Only a socket that nobody answers any more may be replaced; an image of that name would be gone.</summary>
    private static void RefuseInUse(string path)
    {
        if (!Path.Exists(path))
            return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException refusal) when (refusal.SocketErrorCode == SocketError.ConnectionRefused && IsSocket(path))
        {
            return;
        }
        catch (SocketException)
        {
            throw new BackendException("failed", $"Cannot listen on '{path}': what is there is no socket that may be replaced; name another path");
        }

        throw new BackendException("failed", $"Cannot listen on '{path}': another process listens there; name another path");
    }

    /// <summary>The kernel refuses connections to a file in the same words; but a socket cannot be opened.</summary>
    private static bool IsSocket(string path)
    {
        try
        {
            // For both: a pipe would wait for a writer.
            File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete).Dispose();
            return false;
        }
        catch (IOException)
        {
            return true;
        }
        catch (UnauthorizedAccessException)
        {
            return false;
        }
    }
}
