using System.Diagnostics;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.Agent;

/// <summary>One Agent a data directory: a second one would take the sockets from the first.</summary>
internal sealed class AgentLock : IDisposable
{
    /// <summary>A process that was killed gives its locks back when the kernel has taken it apart.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(1);

    private readonly FileStream _file;

    private AgentLock(FileStream file) => _file = file;

    public static AgentLock Take(string path)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                // FileShare.None is flock(LOCK_EX) here, and goes with the process however it ends.
                return new(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            }
            catch (IOException) when (Stopwatch.GetElapsedTime(started) < _patience)
            {
                Thread.Yield();
            }
            catch (IOException)
            {
                throw new BackendException("busy", $"another agent serves this data directory ('{path}' is locked)");
            }
        }
    }

    public void Dispose() => _file.Dispose();
}
