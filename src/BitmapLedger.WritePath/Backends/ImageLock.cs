using System.Diagnostics;
using System.Runtime.InteropServices;

namespace BitmapLedger.WritePath.Backends;

/// <summary>
/// The locks that QEMU's file driver takes, so that it and we keep off each other's images: a shared lock on byte
/// 100 + p for each permission p in use, and on 200 + p for each that others may not have. They go with the file
/// handle.
/// </summary>
internal static class ImageLock
{
    /// <summary>A process that was killed gives its locks back when the kernel has taken it apart.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromMilliseconds(500);

    private const long InUse = 100;
    private const long Denied = 200;
    private const int ConsistentRead = 0;
    private const int Write = 1;
    private const int Resize = 3;

    /// <summary>Takes the locks of a writer, or of a reader.</summary>
    /// <returns>What somebody else holds against it: <c>write</c>, <c>resize</c> …; null when the locks are
    /// ours.</returns>
    public static string? TryTake(int file, bool readOnly)
    {
        int[] used = readOnly ? [ConsistentRead] : [ConsistentRead, Write, Resize];
        int[] denied = [Write, Resize];
        foreach (var permission in used)
            Set(file, InUse + permission);
        foreach (var permission in denied)
            Set(file, Denied + permission);
        var started = Stopwatch.GetTimestamp();
        int[] conflicting;
        do
        {
            conflicting = [.. used.Where(
                p => IsHeldByOthers(file, Denied + p)), .. denied.Where(p => IsHeldByOthers(file, InUse + p))];
        }
        while (conflicting.Length > 0 && Stopwatch.GetElapsedTime(started) < _patience);

        return conflicting.Length == 0 ? null : conflicting[0] switch
        {
            ConsistentRead => "consistent read",
            Write => "write",
            _ => "resize",
        };
    }

    private static void Set(int file, long at)
    {
        var range = new Libc.FileLock { Type = Libc.ReadLock, Start = at, Length = 1 };
        if (Libc.Control(file, Libc.SetOwnLock, ref range) != 0)
            throw new IOException($"cannot lock byte {at}: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    private static bool IsHeldByOthers(int file, long at)
    {
        var range = new Libc.FileLock { Type = Libc.WriteLock, Start = at, Length = 1 };
        return Libc.Control(file, Libc.GetOwnLock, ref range) == 0 && range.Type != Libc.Unlocked;
    }
}
