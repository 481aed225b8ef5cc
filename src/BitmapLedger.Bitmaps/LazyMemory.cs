using System.ComponentModel;
using System.Runtime.InteropServices;

namespace BitmapLedger.Bitmaps;

/// <summary>Zeroed memory outside the garbage collector whose pages appear when first written, or are those of <see cref="SparePages"/>.
/// </summary>
internal sealed unsafe partial class LazyMemory : IDisposable
{
    private const int ProtReadWrite = 0x3;
    private const int MapPrivateAnonymousNoReserve = 0x2 | 0x20 | 0x4000;
    private const int MadviseDontNeed = 4;

    private readonly bool _isSpare;
    private readonly nuint _lengthBytes;
    private readonly nuint _reservedBytes;
    private nint _address;

    /// <param name="lengthBytes">Its length.</param>
    /// <param name="isSpare">Whether it may be of <see cref="SparePages"/>, and goes back there.</param>
    public LazyMemory(long lengthBytes, bool isSpare)
    {
        _lengthBytes = checked((nuint)lengthBytes);
        _reservedBytes = isSpare ? SparePages.Rounded(_lengthBytes) : _lengthBytes;
        _isSpare = isSpare && SparePages.Keeps(_reservedBytes);
        _address = _isSpare ? SparePages.Take(_reservedBytes) : 0;
        if (_address == 0)
            _address = Map(0, _reservedBytes, ProtReadWrite, MapPrivateAnonymousNoReserve, -1, 0);
        if (_address == -1)
            throw new IOException($"Cannot reserve {lengthBytes} bytes: {new Win32Exception().Message}");
    }

    // A leak here is megabytes that no heap dump shows.
    ~LazyMemory() => Free(keep: false);

    public nint Address => _address;

    public bool IsDisposed => _address == 0;

    /// <summary>Gives every page back; they read as zeroes again.</summary>
    public void Zero()
    {
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        if (Advise(_address, _lengthBytes, MadviseDontNeed) != 0)
            throw new InvalidOperationException($"madvise: {new Win32Exception().Message}");
    }

    public void Dispose()
    {
        Free(_isSpare);
        GC.SuppressFinalize(this);
    }

    private void Free(bool keep)
    {
        var (address, length) = (Interlocked.Exchange(ref _address, 0), _reservedBytes);
        if (address is 0 or -1)
            return;
        if (keep)
        {
            NativeMemory.Clear((void*)address, _lengthBytes);
            (address, length) = SparePages.Keep(address, length);
        }

        if (address != 0)
            _ = Unmap(address, length);
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("libc", EntryPoint = "madvise", SetLastError = true)]
    private static partial int Advise(nint address, nuint length, int advice);
}
