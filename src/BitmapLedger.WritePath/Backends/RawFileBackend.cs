using System.Runtime.InteropServices;
using BitmapLedger.Journal;
using BitmapLedger.Nbd;
using Microsoft.Win32.SafeHandles;

namespace BitmapLedger.WritePath.Backends;

/// <summary>A raw file or a block device.</summary>
public sealed unsafe class RawFileBackend : IBackend
{
    private const int ZeroesBytes = 1 << 20;
    private static readonly byte[] _zeroes = GC.AllocateArray<byte>(ZeroesBytes, pinned: true);
    private readonly SafeFileHandle _handle;
    private readonly int _file;

    private RawFileBackend(SafeFileHandle handle, long size)
    {
        _handle = handle;
        _file = (int)handle.DangerousGetHandle();
        Size = size;
    }

    /// <inheritdoc />
    public long Size { get; private set; }

    /// <summary>Opens and locks an image.</summary>
    /// <exception cref="BackendException">Missing, a directory, read-only, in use, or refused by the
    /// system.</exception>
    public static RawFileBackend Open(string path, bool readOnly)
    {
        if (Directory.Exists(path))
            throw new BackendException(
                "failed", $"Could not open '{path}': it is a directory; name a raw file or a device");
        SafeFileHandle? handle = null;
        try
        {
            // Share everything here: the locks below are the ones that QEMU knows.
            handle = File.OpenHandle(
                path, FileMode.Open, readOnly ? FileAccess.Read : FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            var file = (int)handle.DangerousGetHandle();
            if (ImageLock.TryTake(file, readOnly) is { } held)
                throw new BackendException(
                    "in-use", $"Failed to get \"{held}\" lock: is another process using the image '{path}'?");
            var size = Libc.Seek(file, 0, Libc.SeekEnd);
            if (size < 0)
                throw new BackendException(
                    "failed", $"Could not size '{path}': {Marshal.GetLastPInvokeErrorMessage()}");
            var backend = new RawFileBackend(handle, size);
            handle = null;
            return backend;
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BackendException("failed", $"Could not open '{path}': No such file or directory");
        }
        catch (UnauthorizedAccessException)
        {
            throw new BackendException(
                "read-only", $"Could not open '{path}' for writing: Permission denied; `--read-only` serves it unchanged");
        }
        catch (IOException refusal)
        {
            throw new BackendException("failed", $"Could not open '{path}': {refusal.Message}");
        }
        finally
        {
            handle?.Dispose();
        }
    }

    /// <inheritdoc />
    public int Read(long offset, Span<byte> target)
    {
        fixed (byte* bytes = target)
        {
            for (var done = 0; done < target.Length;)
            {
                var count = Libc.Read(_file, bytes + done, (nuint)(target.Length - done), offset + done);
                if (count > 0)
                    done += (int)count;
                else if (count == 0)
                    return Zero(target[done..]);
                else if (Failure() is var errno and not 0)
                    return errno;
            }
        }

        return 0;
    }

    /// <inheritdoc />
    public bool TryReadNoWait(long offset, Span<byte> target)
    {
        fixed (byte* bytes = target)
        {
            var vector = new Libc.Vector { Base = bytes, Length = (nuint)target.Length };
            return Libc.ReadVector(_file, &vector, 1, offset, Libc.NoWait) == target.Length;
        }
    }

    /// <inheritdoc />
    public int Write(long offset, ReadOnlySpan<byte> source)
    {
        fixed (byte* bytes = source)
        {
            for (var done = 0; done < source.Length;)
            {
                var count = Libc.Write(_file, bytes + done, (nuint)(source.Length - done), offset + done);
                if (count >= 0)
                    done += (int)count;
                else if (Failure() is var errno and not 0)
                    return errno;
            }
        }

        return 0;
    }

    /// <inheritdoc />
    public int WriteZeroes(long offset, long length, bool mayPunchHole, bool fast)
    {
        var mode = Libc.FallocateKeepSize | (mayPunchHole ? Libc.FallocatePunchHole : Libc.FallocateZeroRange);
        var errno = Allocate(mode, offset, length);
        if (errno != NbdErrno.NotSupported || fast)
            return errno;

        errno = 0;
        for (var end = offset + length; offset < end && errno == 0; offset += ZeroesBytes)
            errno = Write(offset, _zeroes.AsSpan(0, (int)Math.Min(ZeroesBytes, end - offset)));
        return errno;
    }

    /// <inheritdoc />
    public int Trim(long offset, long length)
    {
        var errno = Allocate(Libc.FallocateKeepSize | Libc.FallocatePunchHole, offset, length);
        return errno == NbdErrno.NotSupported ? 0 : errno;
    }

    /// <inheritdoc />
    public int Flush() => Libc.SyncData(_file) == 0 ? 0 : Failure();

    /// <inheritdoc />
    /// <remarks>A device is in no file system that could be asked.</remarks>
    public bool HasForgotten() => Identity() != default && PosixDisk.HasForgottenAt($"/proc/self/fd/{_file}");

    /// <inheritdoc />
    public void ForgetUnwritten() => _ = Libc.Advise(_file, 0, 0, Libc.DontNeed);

    /// <inheritdoc />
    public FileIdentity Identity()
    {
        var told = default(Libc.FileStatus);
        // Of a device its own node says nothing about the data.
        if (Libc.Status(_file, "", Libc.EmptyPath, Libc.StatusBasic, ref told) != 0 || (told.Mode & Libc.TypeMask) != Libc.RegularFile)
            return default;
        var nanoseconds = told.Changed.Seconds * 1_000_000_000 + told.Changed.Nanoseconds;
        return new(((long)told.DeviceMajor << 32) | told.DeviceMinor, (long)told.Inode, (long)told.Size, nanoseconds);
    }

    /// <inheritdoc />
    public void Resize(long before, long bytes)
    {
        if (IsDevice)
        {
            // QEMU's texts: a device stays as long as it is, and less of it may be used.
            if (bytes > Size)
                throw new BackendException("failed", "Cannot grow device files");
            return;
        }

        if ((before < Size && Libc.Truncate(_file, before) != 0) || Libc.Truncate(_file, bytes) != 0
            || (bytes > before && Libc.SyncData(_file) != 0))
            throw new BackendException("failed", $"Could not resize file: {Marshal.GetLastPInvokeErrorMessage()}");
        Size = bytes;
    }

    /// <inheritdoc />
    public bool IsHole(long offset, long end, out long until)
    {
        var data = Libc.Seek(_file, offset, Libc.SeekData);
        if (data < 0)
        {
            until = end;
            return Marshal.GetLastPInvokeError() == Libc.NoSuchAddress;
        }

        if (data > offset)
        {
            until = Math.Min(data, end);
            return true;
        }

        var hole = Libc.Seek(_file, offset, Libc.SeekHole);
        until = hole > offset ? Math.Min(hole, end) : end;
        return false;
    }

    /// <summary>Closes the image and gives up its locks.</summary>
    public void Dispose() => _handle.Dispose();

    private bool IsDevice
    {
        get
        {
            var told = default(Libc.FileStatus);
            return Libc.Status(_file, "", Libc.EmptyPath, Libc.StatusBasic, ref told) == 0
                && (told.Mode & Libc.TypeMask) != Libc.RegularFile;
        }
    }

    private int Allocate(int mode, long offset, long length)
    {
        while (true)
        {
            if (Libc.Allocate(_file, mode, offset, length) == 0)
                return 0;
            if (Marshal.GetLastPInvokeError() is var errno && errno == Libc.Interrupted)
                continue;
            return errno is Libc.OperationNotSupported or Libc.InvalidArgument ? NbdErrno.NotSupported : ToProtocol(
                errno);
        }
    }

    /// <summary>The errno of the call that failed; 0 when it is to be tried again.</summary>
    private static int Failure() =>
        Marshal.GetLastPInvokeError() is var errno && errno == Libc.Interrupted ? 0 : ToProtocol(errno);

    private static int ToProtocol(int errno) => errno is NbdErrno.NotPermitted or NbdErrno.NoMemory or NbdErrno.NoSpace
        ? errno
        : NbdErrno.InputOutput;

    private static int Zero(Span<byte> target)
    {
        target.Clear();
        return 0;
    }
}
