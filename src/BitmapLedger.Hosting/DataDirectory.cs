using System.Text;

namespace BitmapLedger.Hosting;

/// <summary>The data directory: everything of a ledger in one place, private to its user (design §8).</summary>
public sealed class DataDirectory
{
    /// <summary>What the kernel takes as the path of a unix socket, less the closing zero.</summary>
    private const int SocketPathBytesMax = 107;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    /// <summary>What a data directory may hold before it was ever served; a new file system brings the last one.</summary>
    private static readonly string?[] _own = ["run", "log", "volumes", "agent", "journal", "postgres", "lock", "lost+found"];

    private DataDirectory(string path) => Path = path;

    /// <summary>Absolute path.</summary>
    public string Path { get; }

    /// <summary>Held by flock while <c>bml serve</c> runs.</summary>
    public string LockFile => In("lock");

    /// <summary>Sockets, process ids and what passes between processes.</summary>
    public string Run => In("run");

    /// <summary>Logs of the child processes.</summary>
    public string Logs => In("log");

    /// <summary>The embedded cluster and its socket.</summary>
    public string Postgres => In("postgres");

    /// <summary>HTTP without a token.</summary>
    public string ApiSocket => System.IO.Path.Combine(Run, "api.sock");

    /// <summary>QMP by default.</summary>
    public string QmpSocket => System.IO.Path.Combine(Run, "qmp.sock");

    /// <summary>NBD by default.</summary>
    public string NbdSocket => System.IO.Path.Combine(Run, "nbd.sock");

    /// <summary>The Agent's control socket.</summary>
    public string ControlSocket => System.IO.Path.Combine(Run, "control.sock");

    /// <summary>Names a data directory without touching it.</summary>
    public static DataDirectory At(string path) => new(System.IO.Path.GetFullPath(path));

    /// <summary>Names the file that holds a process id.</summary>
    public string PidFile(string part) => System.IO.Path.Combine(Run, $"{part}.pid");

    /// <summary>Names a log.</summary>
    public string LogFile(string part) => System.IO.Path.Combine(Logs, $"{part}.log");

    /// <summary>Refuses a path that sockets cannot have.</summary>
    /// <exception cref="HostingException">It is too long.</exception>
    public void RequireShortPath()
    {
        foreach (var socket in new[] { ApiSocket, NbdSocket, QmpSocket, ControlSocket, System.IO.Path.Combine(
            Postgres, "run", ".s.PGSQL.5432") })
        {
            // One byte is spared for the name under which a socket is bound first.
            if (Encoding.UTF8.GetByteCount(socket) >= SocketPathBytesMax)
                throw new HostingException(
                    "bad-argument", $"Socket path '{socket}' is longer than {SocketPathBytesMax - 1} bytes; take a shorter data directory");
        }
    }

    /// <summary>Makes what is missing, readable by its user only.</summary>
    /// <exception cref="HostingException">It cannot be made, is somebody else's, or its path is too long for
    /// sockets.</exception>
    public void Create()
    {
        RequireShortPath();
        if (File.Exists(Path))
            throw new HostingException("failed", $"Cannot use data directory '{Path}': it is a file; name a directory");
        RefuseForeign();
        try
        {
            foreach (var directory in new[] { Path, Run, Logs, In("volumes"), In("agent"), In("journal") })
                Directory.CreateDirectory(directory, Private);
            File.SetUnixFileMode(Path, Private);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            throw new HostingException("failed", $"Cannot use data directory '{Path}': {refusal.Message}", refusal);
        }
    }

    /// <summary>A directory with other things in it stays as it is: its mode would change, and files appear in it.</summary>
    private void RefuseForeign()
    {
        if (!Directory.Exists(Path) || File.Exists(LockFile))
            return;
        try
        {
            if (Directory.EnumerateFileSystemEntries(Path).Select(System.IO.Path.GetFileName).FirstOrDefault(n => !_own.Contains(n)) is { } other)
                throw new HostingException(
                    "failed", $"'{Path}' holds '{other}' and is no data directory of BitmapLedger; name an empty or a new one with --data-dir");
        }
        catch (UnauthorizedAccessException refusal)
        {
            throw new HostingException("failed", $"Cannot use data directory '{Path}': {refusal.Message}", refusal);
        }
    }

    private string In(string name) => System.IO.Path.Combine(Path, name);
}
