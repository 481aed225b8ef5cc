namespace BitmapLedger.Bitmaps.Writes;

/// <summary>What a single write did. The values are stored; they never change.</summary>
public enum WriteKind : byte
{
    /// <summary>NBD WRITE: bytes from the client.</summary>
    Write = 1,

    /// <summary>NBD WRITE_ZEROES.</summary>
    WriteZeroes = 2,

    /// <summary>NBD TRIM; marks as QEMU's discard does with <c>discard=unmap</c>.</summary>
    Trim = 3,
}
