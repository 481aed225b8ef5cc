using System.Runtime.InteropServices;

namespace BitmapLedger.WritePath.Backends;

/// <summary>The system calls that .NET does not offer, or not with their errno. Linux, 64 bit.</summary>
internal static unsafe partial class Libc
{
    public const int Again = 11;
    public const int Interrupted = 4;
    public const int NoSuchAddress = 6;
    public const int OperationNotSupported = 95;
    public const int InvalidArgument = 22;

    public const int SeekEnd = 2;
    public const int SeekData = 3;
    public const int SeekHole = 4;

    public const int FallocateKeepSize = 0x01;
    public const int FallocatePunchHole = 0x02;
    public const int FallocateZeroRange = 0x10;

    public const int NoWait = 0x08;

    public const int GetOwnLock = 36;
    public const int SetOwnLock = 37;
    public const short ReadLock = 0;
    public const short WriteLock = 1;
    public const short Unlocked = 2;

    [LibraryImport("libc", EntryPoint = "pread64", SetLastError = true)]
    public static partial nint Read(int file, byte* target, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "pwrite64", SetLastError = true)]
    public static partial nint Write(int file, byte* source, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "preadv64v2", SetLastError = true)]
    public static partial nint ReadVector(int file, Vector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "fallocate64", SetLastError = true)]
    public static partial int Allocate(int file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int SyncData(int file);

    [LibraryImport("libc", EntryPoint = "lseek64", SetLastError = true)]
    public static partial long Seek(int file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fcntl64", SetLastError = true)]
    public static partial int Control(int file, int command, ref FileLock range);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int LockWhole(int file, int operation);

    public struct Vector
    {
        public byte* Base;
        public nuint Length;
    }

    public struct FileLock
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int ProcessId;
    }
}
