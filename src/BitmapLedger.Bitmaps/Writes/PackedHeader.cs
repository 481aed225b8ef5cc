namespace BitmapLedger.Bitmaps.Writes;

/// <summary>What is known of a block before its columns are read, and what their check found.</summary>
internal sealed record PackedHeader(
    int Count,
    int UnitShift,
    long FirstLsn,
    long LastLsn,
    long FirstTimeMicroseconds,
    long LastTimeMicroseconds,
    long TotalBytes,
    IReadOnlyList<ConnectionName> Connections,
    IReadOnlyList<LsnRange> Voids,
    WriteColumns Columns)
{
    public const uint Magic = 0x574C_4D42; // "BMLW" as it is stored
    public const byte Version = 1;
    public const int FixedBytes = 4 + 1 + 1 + 4 + 8 + 8;
    public const int ChecksumBytes = 4;
}
