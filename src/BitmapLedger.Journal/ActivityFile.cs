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
    private const uint Version = 2;
    private const uint FirstWithSectors = 2;

    /// <summary>Sectors of regions that each log of version 1 had.</summary>
    private const long SectorsBefore = 16;

    private const int SectorsAt = 40;
    private const int FirstRegion = 8;

    /// <summary>A sector that is different at each of so many looks is in use, and a later check sees it.</summary>
    private const int LooksMax = 8;

    /// <summary>Longer than a sector takes to be written, also by a thread that has lost its processor.</summary>
    private static readonly TimeSpan _betweenLooks = TimeSpan.FromMilliseconds(20);

    public static string PathIn(string directory) => Path.Combine(directory, "activity");

    /// <summary>Bytes of a file with room for so many regions.</summary>
    public static int Length(int regionsMax) => (1 + Sectors(regionsMax)) * SectorBytes;

    public static int Sectors(int regionsMax) => (regionsMax + RegionsPerSector - 1) / RegionsPerSector;

    public static void WriteHeader(Span<byte> target, Guid volumeId, long regionBytes, int regionsMax)
    {
        var sector = target[..SectorBytes];
        sector.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(sector[4..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[8..], Version);
        BinaryPrimitives.WriteInt64LittleEndian(sector[16..], regionBytes);
        volumeId.TryWriteBytes(sector[24..]);
        BinaryPrimitives.WriteInt64LittleEndian(sector[SectorsAt..], Sectors(regionsMax));
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
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static List<Extent>? Read(IJournalDisk disk, string directory, Guid volumeId)
    {
        try
        {
            List<Extent> extents = [];
            if (WholeFile.ReadBytes(disk, PathIn(directory)) is { } bytes)
                Decode(bytes, PathIn(directory), volumeId, extents);
            return extents;
        }
        catch (CorruptionException)
        {
            return null;
        }
    }

    /// <summary>Looks for damage, also while the log is in use: a sector that is being written changes until the next look, or
    /// is whole then.</summary>
    /// <exception cref="CorruptionException">The log is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static void Check(IJournalDisk disk, string directory, Guid volumeId)
    {
        using var pause = new ManualResetEventSlim();
        byte[]? before = null;
        for (var look = 0; look < LooksMax && WholeFile.ReadBytes(disk, PathIn(directory)) is { } bytes; look++)
        {
            try
            {
                Decode(bytes, PathIn(directory), volumeId, []);
                return;
            }
            catch (CorruptionException) when (before is null || !bytes.AsSpan().SequenceEqual(before))
            {
                before = bytes;
                _ = pause.Wait(_betweenLooks);
            }
        }
    }

    private static void Decode(byte[] bytes, string path, Guid volumeId, List<Extent> extents)
    {
        if (bytes.Length < SectorBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)) != Magic)
            throw new CorruptionException(path, 0, WholeFile.MagicFault);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Crc32C.Of(bytes.AsSpan(4, SectorBytes - 4)))
            throw new CorruptionException(path, 0, "the checksum of the header does not match");
        var version = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8));
        if (version > Version)
            throw new FormatVersionException(path, version, Version);
        var regionBytes = BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(16));
        if (version == 0 || !long.IsPow2(regionBytes) || new Guid(bytes.AsSpan(24, 16)) != volumeId)
            throw new CorruptionException(path, 16, WholeFile.ValueFault);
        var sectors = version < FirstWithSectors ? SectorsBefore : BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(SectorsAt));
        if (bytes.Length - SectorBytes != sectors * SectorBytes)
            throw new CorruptionException(path, bytes.Length, $"the file does not end behind {sectors} sectors of regions");

        var salt = Salt(volumeId);
        for (var at = SectorBytes; at < bytes.Length; at += SectorBytes)
        {
            var sector = bytes.AsSpan(at, SectorBytes);
            if (BinaryPrimitives.ReadUInt32LittleEndian(sector) != Crc32C.Of(sector[4..], salt))
                throw new CorruptionException(path, at, "the checksum of the regions does not match");
            for (var i = FirstRegion; i < SectorBytes; i += sizeof(long))
                if (BinaryPrimitives.ReadInt64LittleEndian(sector[i..]) is var region and > 0)
                    extents.Add(new((region - 1) * regionBytes, regionBytes));
        }
    }
}
