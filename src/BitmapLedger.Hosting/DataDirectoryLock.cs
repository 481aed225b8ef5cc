using System.Diagnostics;

namespace BitmapLedger.Hosting;

/// <summary>One <c>bml serve</c> a data directory; the lock goes with the process however it ends.</summary>
public sealed class DataDirectoryLock : IDisposable
{
    /// <summary>A process that was killed gives its locks back when the kernel has taken it apart.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(1);

    private readonly FileStream _file;

    private DataDirectoryLock(FileStream file) => _file = file;

    /// <summary>Takes the lock.</summary>
    /// <exception cref="HostingException">Another process holds it; the message says which.</exception>
    public static DataDirectoryLock Take(DataDirectory directory)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                // FileShare.None is flock(LOCK_EX | LOCK_NB) here.
                var file = new FileStream(
                    directory.LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
                File.WriteAllText(HolderFile(directory), $"{Environment.ProcessId}\n");
                return new(file);
            }
            catch (IOException held)
            {
                if (Stopwatch.GetElapsedTime(started) > _patience)
                    throw Held(directory, held);
            }

            Thread.Yield();
        }
    }

    /// <inheritdoc />
    public void Dispose() => _file.Dispose();

    private static HostingException Held(DataDirectory directory, IOException held)
    {
        var holder = File.Exists(HolderFile(directory)) ? File.ReadAllText(HolderFile(directory)).Trim() : "unknown";
        return new(
            "busy", $"Data directory '{directory.Path}' is held by another bml serve (process {holder}); stop it first, or take another --data-dir", held);
    }

    // Beside the lock: what is locked exclusively cannot be opened to read who holds it.
    private static string HolderFile(DataDirectory directory) => directory.PidFile("serve");
}
