using System.Globalization;
using System.Runtime.InteropServices;

namespace BitmapLedger.Hosting;

/// <summary>Processes by id, verified before anything is done to them.</summary>
public static partial class ProcessId
{
    private const int SigTerm = 15;
    private const int SigKill = 9;

    /// <summary>The living process that a pid file names, if its program is the expected one; else null.</summary>
    /// <param name="pidFile">The file; its first line is the id.</param>
    /// <param name="words">What its command line contains: ids are used again.</param>
    public static int? Living(string pidFile, params ReadOnlySpan<string> words)
    {
        try
        {
            return int.TryParse(
                File.ReadLines(pidFile).FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                && IsAlive(id) && ContainsAll(File.ReadAllText($"/proc/{id}/cmdline"), words)
                ? id
                : null;
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>True while the process exists and is no zombie.</summary>
    public static bool IsAlive(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            return stat[stat.LastIndexOf(')') + 2] is not ('Z' or 'X');
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Asks a process to end.</summary>
    public static void Terminate(int id) => _ = Kill(id, SigTerm);

    /// <summary>Ends a process that did not.</summary>
    public static void Kill(int id) => _ = Kill(id, SigKill);

    private static bool ContainsAll(string text, ReadOnlySpan<string> words)
    {
        foreach (var word in words)
            if (!text.Contains(word, StringComparison.Ordinal))
                return false;
        return true;
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int id, int signal);
}
