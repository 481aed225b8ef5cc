using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Simulation.Tests;

/// <summary>A write as the client knows it.</summary>
internal sealed class SentWrite(long id, WriteKind kind, long offset, long length, long lsn)
{
    public long Id { get; } = id;

    public WriteKind Kind { get; } = kind;

    public long Offset { get; } = offset;

    public long Length { get; } = length;

    /// <summary>The LSN that it gets if it gets one.</summary>
    public long Lsn { get; } = lsn;

    /// <summary>Its data went out: from then on the LSN is its own.</summary>
    public bool IsLanded { get; set; }

    /// <summary>Answered with success.</summary>
    public bool IsAcknowledged { get; set; }

    /// <summary>A FLUSH or FUA that covers it was answered with success.</summary>
    public bool IsFlushed { get; set; }

    /// <summary>A flush of this run covers it, and everything before it.</summary>
    public bool IsCovered { get; set; }

    /// <summary>Whether the ledger must hold it, once it has all that the journal has.</summary>
    public bool MustBeRecorded { get; set; }
}
