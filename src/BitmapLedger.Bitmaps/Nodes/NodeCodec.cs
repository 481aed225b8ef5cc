using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Nodes;

/// <summary>
/// The blocks that a stretch of history touched, as bytes that can be read in part: a head with a directory, then
/// containers of a fixed span of blocks, each in whichever form is smallest. Layout: FORMAT.md.
/// </summary>
public static class NodeCodec
{
    /// <summary>Most blocks of a node: what it takes at worst, a bit each, stays well under what one row of PostgreSQL
    /// can hold.</summary>
    public const long BlocksMax = 1L << 30;

    internal const uint Magic = 0x4E4C_4D42; // "BMLN" as it is stored
    internal const byte Version = 1;
    internal const int FixedBytes = 4 + 1 + 1 + 1 + 1 + 8 + 4 + 4;
    internal const int ChecksumBytes = 4;
    internal const int ContainerShiftMin = 16;
    internal const int ContainerShiftMax = 18;

    /// <summary>A directory stays under this many entries, so that it is fetched in one go.</summary>
    private const int ContainersGoodShift = 12;

    /// <summary>The granularity at which a node of a volume is kept: the one that is asked for, or the finest at which it
    /// has at most <see cref="BlocksMax"/> blocks.</summary>
    /// <param name="volumeBytes">Size of the volume.</param>
    /// <param name="wanted">The granularity that is asked for.</param>
    public static Granularity GranularityFor(long volumeBytes, Granularity wanted)
    {
        while (wanted.BlockCount(volumeBytes) > BlocksMax)
            wanted = Granularity.FromShift(wanted.Shift + 1);
        return wanted;
    }

    /// <summary>The bytes of a map that nobody marks meanwhile.</summary>
    /// <exception cref="ArgumentException">The map has more than <see cref="BlocksMax"/> blocks.</exception>
    public static byte[] Encode(NativeBitmap map)
    {
        if (map.BlockCount > BlocksMax)
            throw new ArgumentException($"{map.BlockCount} blocks do not fit into a node of {BlocksMax}.", nameof(map));
        var shift = ContainerShift(map.BlockCount);
        var directory = new ByteWriter(256);
        var payloads = new ByteWriter(4096);
        var scratch = ArrayPool<byte>.Shared.Rent(BitmapContainer.BytesMax(1 << shift));
        try
        {
            var count = WriteContainers(map, shift, directory, payloads, scratch);
            var target = new ByteWriter(FixedBytes + directory.Length + ChecksumBytes + payloads.Length);
            target.UInt32(Magic);
            target.Byte(Version);
            target.Byte((byte)map.Granularity.Shift);
            target.Byte((byte)shift);
            target.Byte(0);
            target.Int64(map.VolumeBytes);
            target.UInt32((uint)directory.Length);
            target.UInt32((uint)count);
            target.Bytes(directory.Written);
            target.UInt32(Crc32C.Of(target.Written));
            target.Bytes(payloads.Written);
            return target.Written.ToArray();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(scratch);
        }
    }

    /// <summary>
    /// Marks in a map what a node holds, rounded outward where the map is coarser and clipped to its size. The map may
    /// have been marked in part when a fault is found. Nobody else may mark the map meanwhile.
    /// </summary>
    /// <param name="node">All bytes of the node.</param>
    /// <param name="target">The map; not finer than the node.</param>
    /// <exception cref="ArgumentException">The map is finer than the node.</exception>
    public static CodecFault TryUnion(ReadOnlySpan<byte> node, NativeBitmap target)
    {
        var fault = NodeDirectory.TryRead(node, out var directory, out _);
        if (directory is null)
            return fault;
        return node.Length == directory.TotalBytes
            ? directory.TryUnion(node[directory.HeadBytes..], target)
            : CodecFault.Incomplete;
    }

    private static int ContainerShift(long blocks) =>
        Math.Max(ContainerShiftMin, 64 - BitOperations.LeadingZeroCount((ulong)Math.Max(1, blocks) - 1) - ContainersGoodShift);

    private static int WriteContainers(
        NativeBitmap map, int shift, ByteWriter directory, ByteWriter payloads, byte[] scratch)
    {
        Span<byte> checksum = stackalloc byte[ChecksumBytes];
        var count = 0;
        var next = 0L;
        for (var from = 0L; map.TryFindRun(from, out var run); count++)
        {
            var container = run.First >> shift;
            var first = container << shift;
            var blocks = (int)Math.Min(1L << shift, map.BlockCount - first);
            var form = BitmapContainer.Write(scratch, map.Words(first, blocks), blocks, out var length);
            directory.Varint((ulong)(container - next));
            directory.Byte((byte)form);
            directory.Varint((ulong)length);
            if (length > 0)
            {
                payloads.Bytes(scratch.AsSpan(0, length));
                BinaryPrimitives.WriteUInt32LittleEndian(checksum, Crc32C.Of(scratch.AsSpan(0, length), (uint)container));
                payloads.Bytes(checksum);
            }

            next = container + 1;
            from = next << shift;
        }

        return count;
    }
}
