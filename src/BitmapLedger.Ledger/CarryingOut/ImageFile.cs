using System.Runtime.InteropServices;
using BitmapLedger.Contracts;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>Looks at an image before anybody opens it: a pipe would keep its opener waiting for ever.</summary>
internal static unsafe partial class ImageFile
{
    private const int CurrentDirectory = -100;
    private const uint TypeAndMode = 0x3;
    private const int StatxBytes = 256;
    private const int ModeAt = 28;
    private const int TypeMask = 0xF000;
    private const int RegularFile = 0x8000;
    private const int BlockDevice = 0x6000;
    private const int DirectoryType = 0x4000;
    private const int AnyWrite = 0x92;
    private const int SeekEnd = 2;

    /// <summary>BLKROGET of linux/fs.h.</summary>
    private const nuint GetReadOnly = 0x125E;

    /// <summary>Refuses what is no raw file or block device, and what nobody may write, unless it is to stay as it is.</summary>
    /// <exception cref="LedgerException">It cannot be served.</exception>
    public static void RefuseUnusable(string path, bool readOnly)
    {
        var buffer = stackalloc byte[StatxBytes];
        if (path.Contains('\0'))
            throw new LedgerException(ErrorCode.BadArgument, $"'{path}' is no path: it holds a zero character");
        if (Statx(CurrentDirectory, path, 0, TypeAndMode, buffer) != 0)
            throw new LedgerException(ErrorCode.Failed, $"Could not open '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
        var mode = *(ushort*)(buffer + ModeAt);
        if ((mode & TypeMask) is var type && type is not (RegularFile or BlockDevice))
            throw new LedgerException(
                ErrorCode.Failed, $"Could not open '{path}': it is {(type == DirectoryType ? "a directory" : "no file and no block device")}",
                "name a raw file or a block device");
        // The superuser may write it all the same, but somebody has said that nobody shall.
        if (!readOnly && (mode & AnyWrite) == 0)
            throw new LedgerException(
                ErrorCode.Failed, $"Could not open '{path}' for writing: it is read-only for everybody",
                "serve it with --read-only, or chmod u+w");
    }

    /// <summary>Bytes of a file or device; of a device only its end says how many, and .NET takes its length for 0.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    /// <exception cref="LedgerException">It is a device that takes no writes, and they are to be served.</exception>
    public static long Length(string path, bool readOnly)
    {
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var file = (int)handle.DangerousGetHandle();
        var takesNoWrites = 0;
        // The kernel lets such a device be opened for writing, and fails each write.
        if (!readOnly && Control(file, GetReadOnly, &takesNoWrites) == 0 && takesNoWrites != 0)
            throw new LedgerException(
                ErrorCode.Failed, $"Could not open '{path}' for writing: the device is read-only", "serve it with --read-only");
        return Seek(file, 0, SeekEnd);
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(int file, nuint request, int* value);

    [LibraryImport("libc", EntryPoint = "lseek64", SetLastError = true)]
    private static partial long Seek(int file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* buffer);
}
