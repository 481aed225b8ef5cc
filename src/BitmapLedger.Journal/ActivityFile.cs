using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The file <c>activity</c> as bytes: a header sector, then sectors of regions, each under a checksum of its own. A
/// sector is
/// written whole or not at all, so a region that stays where it is survives every change beside it. Layout: FORMAT.md.
/// </summary>
internal static class ActivityFile
{
    /// <summary>Regions of a sector.</summary>
    public const int RegionsPerSector = 63;

    public const int SectorBytes = 512;

    private const uint Magic = 0x414C_4D42; // "BMLA" as it lies on disk
    private const uint Version = 1;
    private const int FirstRegion = 8;

    public static string PathIn(string directory) => Path.Combine(directory, "activity");

    /// <summary>Bytes of a file with room for so many regions.</summary>
    public static int Length(int regionsMax) => (1 + Sectors(regionsMax)) * SectorBytes;

    public static int Sectors(int regionsMax) => (regionsMax + RegionsPerSector - 1) / RegionsPerSector;

    public static void WriteHeader(Span<byte> target, Guid volumeId, long regionBytes)
    {
        var sector = target[..SectorBytes];
        sector.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(sector[4..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(sector[16..], regionBytes);
        volumeId.TryWriteBytes(sector[24..]);
        BinaryPrimitives.WriteUInt32LittleEndian(sector, Crc32C.Of(sector[4..]));
    }

    /// <summary>Writes a sector of regions, each its number and 1, or 0 for none.</summary>
    public static void WriteRegions(Span<byte> target, ReadOnlySpan<long> regions, uint salt)
    {
        var sector = target[..SectorBytes];
        sector.Clear();
        for (var i = 0; i < regions.Length; i++)
            BinaryPrimitives.WriteInt64LittleEndian(sector[(FirstRegion + i * sizeof(long))..], regions[i]);
        BinaryPrimitives.WriteUInt32LittleEndian(sector, Crc32C.Of(sector[4..], salt));
    }

    public static uint Salt(Guid volumeId)
    {
        Span<byte> bytes = stackalloc byte[16];
        volumeId.TryWriteBytes(bytes);
        return Crc32C.Of(bytes);
    }

    /// <summary>The regions that stand in a log, as extents of the volume.</summary>
    /// <returns>Null when the log is damaged: then any region may stand in it. Empty when there is no log.</returns>
    public static List<Extent>? Read(IJournalDisk disk, string directory, Guid volumeId)
    {
        using var file = disk.TryOpen(PathIn(directory), writable: false);
        if (file is null)
            return [];
        var bytes = new byte[file.Length];
        if (file.Read(bytes, 0) < bytes.Length || bytes.Length < SectorBytes || bytes.Length % SectorBytes != 0
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8)) != Version
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Crc32C.Of(bytes.AsSpan(4, SectorBytes - 4))
            || BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(16)) is var regionBytes && !long.IsPow2(regionBytes))
            return null;

        List<Extent> extents = [];
        var salt = Salt(volumeId);
        for (var at = SectorBytes; at < bytes.Length; at += SectorBytes)
        {
            var sector = bytes.AsSpan(at, SectorBytes);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector) != Crc32C.Of(sector[4..], salt))
                return null;
            for (var i = FirstRegion; i < SectorBytes; i += sizeof(long))
                if (BinaryPrimitives.ReadInt64LittleEndian(sector[i..]) is var region and > 0)
                    extents.Add(new((region - 1) * regionBytes, regionBytes));
        }

        return extents;
    }
}
