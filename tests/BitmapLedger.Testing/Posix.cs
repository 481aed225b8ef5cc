using System.Runtime.InteropServices;

namespace BitmapLedger.Testing;

/// <summary>Signals by process id; nothing is ever ended by name.</summary>
public static partial class Posix
{
    public const int SigKill = 9;
    public const int SigTerm = 15;
    public const int SigStop = 19;
    public const int SigCont = 18;
    private const int DuplicateCloseOnExec = 1030;
    private const int CloseOnExec = 0x8_0000;

    public static void Signal(int processId, int signal)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(processId, 2);
        _ = Kill(processId, signal);
    }

    /// <summary>True while the process exists and is no zombie.</summary>
    public static bool IsAlive(int processId)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{processId}/stat");
            return stat[stat.LastIndexOf(')') + 2] is not ('Z' or 'X');
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Its children now.</summary>
    public static IReadOnlyList<int> Children(int processId) =>
    [
        .. File.ReadAllText($"/proc/{processId}/task/{processId}/children")
            .Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse),
    ];

    /// <summary>What each thread of a process does now: its name, its state, and where in the kernel it waits.</summary>
    public static string Threads(int processId) => string.Join('\n', Directory.GetDirectories($"/proc/{processId}/task").Select(t =>
    {
        var stat = File.ReadAllText($"{t}/stat");
        return $"{stat[(stat.IndexOf('(', StringComparison.Ordinal) + 1)..stat.LastIndexOf(')')]} {stat[stat.LastIndexOf(')') + 2]} "
            + $"{File.ReadAllText($"{t}/wchan")} {File.ReadAllText($"{t}/syscall").TrimEnd()}";
    }));

    /// <summary>One more descriptor of what a descriptor stands for.</summary>
    public static int Duplicate(int descriptor) => Control(descriptor, DuplicateCloseOnExec, 0) is var copy and >= 0
        ? copy
        : throw new InvalidOperationException(Marshal.GetLastPInvokeErrorMessage());

    /// <summary>Makes a descriptor stand for what another one stands for.</summary>
    public static void Replace(int descriptor, int by)
    {
        // One that children would inherit .NET takes for shared, and wakes nobody who waits in it when it is closed.
        if (Duplicate(by, descriptor, CloseOnExec) < 0)
            throw new InvalidOperationException(Marshal.GetLastPInvokeErrorMessage());
    }

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(int descriptor, int command, int argument);

    [LibraryImport("libc", EntryPoint = "dup3", SetLastError = true)]
    private static partial int Duplicate(int from, int to, int flags);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int processId, int signal);
}
