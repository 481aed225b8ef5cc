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

    public const int DontNeed = 4;

    public const int EmptyPath = 0x1000;
    public const uint StatusBasic = 0x7FF;
    public const ushort TypeMask = 0xF000;
    public const ushort RegularFile = 0x8000;

    [LibraryImport("libc", EntryPoint = "pread64", SetLastError = true)]
    public static partial nint Read(int file, byte* target, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "pwrite64", SetLastError = true)]
    public static partial nint Write(int file, byte* source, nuint count, long offset);

    [LibraryImport("libc", EntryPoint = "preadv64v2", SetLastError = true)]
    public static partial nint ReadVector(int file, Vector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "fallocate64", SetLastError = true)]
    public static partial int Allocate(int file, int mode, long offset, long length);

    [LibraryImport("libc", EntryPoint = "ftruncate64", SetLastError = true)]
    public static partial int Truncate(int file, long length);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int SyncData(int file);

    [LibraryImport("libc", EntryPoint = "lseek64", SetLastError = true)]
    public static partial long Seek(int file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "fcntl64", SetLastError = true)]
    public static partial int Control(int file, int command, ref FileLock range);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int LockWhole(int file, int operation);

    [LibraryImport("libc", EntryPoint = "posix_fadvise64")]
    public static partial int Advise(int file, long offset, long length, int advice);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Status(int directory, string path, int flags, uint mask, ref FileStatus status);

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

    public struct FileTime
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;
    }

    /// <summary><c>struct statx</c>, which is the same on every architecture.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 256)]
    public struct FileStatus
    {
        public uint Mask;
        public uint BlockSize;
        public ulong Attributes;
        public uint Links;
        public uint User;
        public uint Group;
        public ushort Mode;
        public ushort Spare;
        public ulong Inode;
        public ulong Size;
        public ulong Blocks;
        public ulong AttributesMask;
        public FileTime Accessed;
        public FileTime Born;
        public FileTime Changed;
        public FileTime Modified;
        public uint NodeMajor;
        public uint NodeMinor;
        public uint DeviceMajor;
        public uint DeviceMinor;
    }
}
