using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.Agent;

/// <summary>One Agent a data directory: a second one would take the sockets from the first.</summary>
internal sealed class AgentLock : IDisposable
{
    private readonly FileStream _file;

    private AgentLock(FileStream file) => _file = file;

    public static AgentLock Take(string path)
    {
        try
        {
            // FileShare.None is flock(LOCK_EX) here, and goes with the process however it ends.
            return new(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (IOException)
        {
            throw new BackendException("busy", $"another agent serves this data directory ('{path}' is locked)");
        }
    }

    public void Dispose() => _file.Dispose();
}
