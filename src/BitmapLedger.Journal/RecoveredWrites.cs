using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The file <c>recovered</c>: what may have been written, or may have reverted, and the ledger does not know of yet.
/// Durable from
/// the recovery that found it until the ledger has recorded it. Layout: FORMAT.md.
/// </summary>
internal static class RecoveredWrites
{
    /// <summary>Most extents; more are joined by a coarser granularity, which marks more and never less.</summary>
    private const int ExtentsMax = 16_384;

    private const uint Magic = 0x5257_4D42; // "BMWR" as it lies on disk
    private const byte Version = 1;
    private const int VersionAt = 4;
    private const int CountAt = 8;
    private const int HeaderBytes = 16;
    private const int ExtentBytes = 2 * sizeof(long);
    private const int CoarserShift = 3;

    public static string PathIn(string directory) => Path.Combine(directory, "recovered");

    /// <summary>What the ledger does not know of yet; empty when there is no such file.</summary>
    /// <exception cref="CorruptionException">The file is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    public static IReadOnlyList<Extent> Read(IJournalDisk disk, string directory)
    {
        var path = PathIn(directory);
        if (WholeFile.Read(disk, path, Magic, VersionAt, Version) is not { } bytes)
            return [];
        List<Extent> extents = [];
        if (bytes[VersionAt] != Version || (bytes.Length - HeaderBytes) % ExtentBytes != 0
            || (bytes.Length - HeaderBytes) / ExtentBytes != BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(CountAt)))
            throw new CorruptionException(path, CountAt, WholeFile.ValueFault);
        for (var at = HeaderBytes; at + ExtentBytes <= bytes.Length; at += ExtentBytes)
        {
            var extent = new Extent(
                BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at)),
                BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at + sizeof(long))));
            if (extent.Offset < 0 || extent.Length <= 0 || extent.Length > long.MaxValue - extent.Offset)
                throw new CorruptionException(path, at, WholeFile.ValueFault);
            extents.Add(extent);
        }

        return extents;
    }

    public static void Write(JournalOptions options, IReadOnlyList<Extent> extents)
    {
        var bytes = new byte[HeaderBytes + extents.Count * ExtentBytes + sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[VersionAt] = Version;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(CountAt), extents.Count);
        for (var i = 0; i < extents.Count; i++)
        {
            var at = bytes.AsSpan(HeaderBytes + i * ExtentBytes);
            BinaryPrimitives.WriteInt64LittleEndian(at, extents[i].Offset);
            BinaryPrimitives.WriteInt64LittleEndian(at[sizeof(long)..], extents[i].Length);
        }

        WholeFile.Write(options.Disk, PathIn(options.Directory), bytes);
    }

    public static void Delete(JournalOptions options)
    {
        options.Disk.Delete(PathIn(options.Directory));
        options.Disk.SyncDirectory(options.Directory);
    }

    /// <summary>What a power loss may have touched: what was not told yet, the regions of the activity log, and every
    /// journaled write whose data may not be on the disk.</summary>
    /// <param name="options">The journal.</param>
    /// <param name="untold">What the ledger does not know of yet.</param>
    /// <param name="active">Regions; null for all of the volume.</param>
    /// <param name="found">What the journal holds.</param>
    public static IReadOnlyList<Extent> Find(
        JournalOptions options, IReadOnlyList<Extent> untold, IReadOnlyList<Extent>? active, JournalRecovery found)
    {
        var granularity = Granularity.FromBytes(512);
        while (granularity.BlockCount(options.VolumeBytes) > NativeBitmap.BlocksMax)
            granularity = Granularity.FromBytes(granularity.Bytes << 1);
        var map = new NativeBitmap(options.VolumeBytes, granularity);
        try
        {
            foreach (var extent in untold.Concat(active ?? [new(0, options.VolumeBytes)]))
                Mark(map, extent.Offset, extent.Length);
            new SegmentWalk(options.Disk, options.Directory, found.Segments).ReadAll((record, _) =>
            {
                if (record.IsWrite && record.Lsn > found.Marks.DataLsn)
                    Mark(map, record.Offset, record.Length);
            });
            while (true)
            {
                var extents = map.Extents().Take(ExtentsMax + 1).ToList();
                if (extents.Count <= ExtentsMax)
                    return extents;
                var coarser = new NativeBitmap(
                    options.VolumeBytes, Granularity.FromBytes(map.Granularity.Bytes << CoarserShift));
                coarser.UnionWith(map);
                map.Dispose();
                map = coarser;
            }
        }
        finally
        {
            map.Dispose();
        }
    }

    private static void Mark(NativeBitmap map, long offset, long length)
    {
        if (offset < map.VolumeBytes)
            map.MarkDirty(offset, Math.Min(length, map.VolumeBytes - offset));
    }
}
