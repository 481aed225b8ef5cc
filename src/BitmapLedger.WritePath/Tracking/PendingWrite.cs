using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A write of a batch, and what became of it.</summary>
public struct PendingWrite
{
    /// <summary>What it does.</summary>
    public WriteKind Kind { get; init; }

    /// <summary>WRITE_ZEROES: the space stays allocated.</summary>
    public bool NoHole { get; init; }

    /// <summary>WRITE_ZEROES: fail rather than be slow.</summary>
    public bool FastZero { get; init; }

    /// <summary>Durable before the reply.</summary>
    public bool Fua { get; init; }

    /// <summary>First byte of the volume.</summary>
    public long Offset { get; init; }

    /// <summary>Bytes; 0 succeeds and is no write.</summary>
    public long Length { get; init; }

    /// <summary>WRITE: where its data begins in the buffer of the batch.</summary>
    public int DataStart { get; init; }

    /// <summary>Errno of the protocol, 0 for success; set by the volume.</summary>
    public int Errno { get; set; }
}
