using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace BitmapLedger.Journal;

/// <summary>The machine's file systems. Linux.</summary>
public sealed partial class PosixDisk : IJournalDisk
{
    private const int ReadOnlyDirectory = 0x1_0000;
    private const int CloseOnExec = 0x8_0000;
    private const int Interrupted = 4;
    private const int Direct = 0x4000;

    /// <summary>Most pages of a file that are tried, over all of its length: of what is damaged others are left.</summary>
    private const int PagesLookedAt = 16;

    private const int AdviceRandom = 1;
    private const int AdviceDontNeed = 4;

    private PosixDisk()
    {
    }

    /// <summary>The only one: it holds nothing.</summary>
    public static PosixDisk Instance { get; } = new();

    /// <inheritdoc />
    public int PageBytes => Environment.SystemPageSize;

    /// <inheritdoc />
    public void CreateDirectory(string directory) => Directory.CreateDirectory(directory);

    /// <inheritdoc />
    public IReadOnlyList<string> Names(string directory) => Directory.Exists(directory)
        ? [.. Directory.EnumerateFiles(directory).Select(f => Path.GetFileName(f))]
        : [];

    /// <inheritdoc />
    public IJournalFile? TryOpen(string path, bool writable)
    {
        try
        {
            return new PosixFile(File.OpenHandle(
                path, FileMode.Open, writable ? FileAccess.ReadWrite : FileAccess.Read,
                FileShare.ReadWrite | FileShare.Delete));
        }
        catch (Exception missing) when (missing is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <inheritdoc />
    public IJournalFile Create(string path) => new PosixFile(
        File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete));

    /// <inheritdoc />
    public void Move(string from, string to)
    {
        if (Rename(from, to) != 0)
            throw Failure($"cannot move '{from}' to '{to}'");
    }

    /// <inheritdoc />
    public void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // Then it is not there either.
        }
    }

    /// <inheritdoc />
    public void SyncDirectory(string directory)
    {
        var handle = OpenRaw(directory, ReadOnlyDirectory | CloseOnExec, 0);
        if (handle < 0)
            throw Failure($"cannot open directory '{directory}'");
        try
        {
            while (SyncAll(handle) != 0)
                if (Marshal.GetLastPInvokeError() != Interrupted)
                    throw Failure($"cannot sync directory '{directory}'");
        }
        finally
        {
            _ = CloseRaw(handle);
        }
    }

    /// <inheritdoc />
    public bool HasForgotten(string directory) => HasForgottenAt(directory);

    /// <summary>The same of the file system on which a file or a directory is; true where it cannot be asked.</summary>
    public static bool HasForgottenAt(string path)
    {
        // Since Linux 5.8 an open file that is newer than the failure tells it, if no call of this kind has told it yet.
        var handle = OpenRaw(path, CloseOnExec, 0);
        if (handle < 0)
            return true;
        try
        {
            while (SyncFileSystem(handle) != 0)
                if (Marshal.GetLastPInvokeError() != Interrupted)
                    return true;
            return false;
        }
        finally
        {
            _ = CloseRaw(handle);
        }
    }

    /// <inheritdoc />
    public bool CanRead(string directory) =>
        // One that takes nothing, being full or only to be read, may give what it has.
        GivesBack(directory) || Names(directory).Any(n => GivesSomething(Path.Combine(directory, n)));

    private bool GivesBack(string directory)
    {
        try
        {
            var id = Guid.NewGuid();
            var written = new byte[PageBytes];
            id.TryWriteBytes(written);
            using var file = File.OpenHandle(
                Path.Combine(directory, $"probe-{id:N}"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None,
                FileOptions.DeleteOnClose);
            RandomAccess.Write(file, written, 0);
            // What is on the disk may go from memory, so that the next read asks the disk.
            if (SyncData(file) != 0 || Advise(file, 0, written.Length, AdviceDontNeed) != 0)
                return false;
            var read = new byte[written.Length];
            return RandomAccess.Read(file, read, 0) == read.Length && read.AsSpan().SequenceEqual(written);
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Whether some page of a file comes from the disk; one that cannot even be opened says nothing of others.</summary>
    private bool GivesSomething(string path)
    {
        try
        {
            using var file = TryOpen(path, writable: false);
            for (long at = 0, step = Math.Max(PageBytes, (file?.Length ?? 0) / PagesLookedAt / PageBytes * PageBytes); at < file?.Length; at += step)
                if (GivesPage(path, at))
                    return true;
            return false;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private bool GivesPage(string path, long offset)
    {
        // Past what is in memory; a file system that has no such way is told to forget it first.
        var handle = OpenRaw(path, Direct | CloseOnExec, 0);
        if (handle < 0)
            handle = OpenRaw(path, CloseOnExec, 0);
        if (handle < 0)
            return false;
        using var file = new SafeFileHandle(handle, ownsHandle: true);
        _ = Advise(file, offset, PageBytes, AdviceDontNeed);
        var pages = GC.AllocateArray<byte>(2 * PageBytes, pinned: true);
        var aligned = (int)(-Marshal.UnsafeAddrOfPinnedArrayElement(pages, 0) & (PageBytes - 1));
        // Zeroes may be room that was set aside and never written: no disk is asked for those.
        return ReadRaw(file, ref pages[aligned], PageBytes, offset) > 0 && pages.AsSpan().ContainsAnyExcept((byte)0);
    }

    private static IOException Failure(string what) => new($"{what}: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", EntryPoint = "open64", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenRaw(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename(string from, string to);

    [LibraryImport("libc", EntryPoint = "pread64", SetLastError = true)]
    private static partial nint ReadRaw(SafeFileHandle handle, ref byte target, nint count, long offset);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int CloseRaw(int handle);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncAll(int handle);

    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    private static partial int SyncFileSystem(int handle);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int SyncData(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "posix_fallocate64", SetLastError = false)]
    private static partial int AllocateRaw(SafeFileHandle handle, long offset, long length);

    [LibraryImport("libc", EntryPoint = "posix_fadvise64", SetLastError = false)]
    private static partial int Advise(SafeFileHandle handle, long offset, long length, int advice);

    private sealed class PosixFile(SafeFileHandle handle) : IJournalFile
    {
        public long Length => RandomAccess.GetLength(handle);

        public void Allocate(long length)
        {
            int errno;
            while ((errno = AllocateRaw(handle, 0, length)) == Interrupted)
            {
            }

            if (errno != 0)
                throw new IOException(
                    $"cannot allocate {length} bytes: {Marshal.GetPInvokeErrorMessage(errno)}", hresult: errno);
        }

        public int Read(Span<byte> target, long offset)
        {
            var done = 0;
            try
            {
                while (done < target.Length)
                {
                    var count = RandomAccess.Read(handle, target[done..], offset + done);
                    if (count == 0)
                        break;
                    done += count;
                }
            }
            catch (IOException)
            {
                // The system keeps pages that it read together, and failed together, as one: from now on each by itself.
                _ = Advise(handle, 0, 0, AdviceRandom);
                _ = Advise(handle, 0, 0, AdviceDontNeed);
                throw;
            }

            return done;
        }

        public void Write(ReadOnlySpan<byte> source, long offset) => RandomAccess.Write(handle, source, offset);

        public void Sync()
        {
            while (SyncData(handle) != 0)
                if (Marshal.GetLastPInvokeError() != Interrupted)
                    throw Failure("cannot sync");
        }

        public void Dispose() => handle.Dispose();
    }
}
