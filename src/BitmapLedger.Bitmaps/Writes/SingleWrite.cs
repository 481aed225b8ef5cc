namespace BitmapLedger.Bitmaps.Writes;

/// <summary>One write of one volume, as the journal and the ledger keep it.</summary>
/// <param name="Lsn">Sequence number of the write in its volume: 1, 2, 3 …</param>
/// <param name="TimeMicroseconds">Microseconds since the Unix epoch, UTC; never goes back within a volume.</param>
/// <param name="Kind">What it did.</param>
/// <param name="Offset">First byte, from the start of the volume.</param>
/// <param name="Length">Bytes written; above 0.</param>
/// <param name="Connection">Number of the client connection, named beside the writes.</param>
public readonly record struct SingleWrite(
    long Lsn,
    long TimeMicroseconds,
    WriteKind Kind,
    long Offset,
    long Length,
    int Connection)
{
    /// <summary>First byte behind the write.</summary>
    public long End => Offset + Length;
}
