using System.Buffers.Binary;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>
/// A bitmap as bytes: containers of 65,536 blocks, each in whichever form is smallest, behind a directory. Empty
/// containers take nothing. Layout: FORMAT.md.
/// </summary>
public static class BitmapCodec
{
    private const int ContainerShift = 16;
    private const int ContainerBlocks = 1 << ContainerShift;

    private const uint Magic = 0x424C_4D42; // "BMLB" as it is stored
    private const byte Version = 1;
    private const int FixedBytes = 4 + 1 + 1 + 8;
    private const int ChecksumBytes = 4;

    /// <summary>The bytes of a map that nobody marks meanwhile.</summary>
    public static byte[] Encode(NativeBitmap map)
    {
        var payload = new ByteWriter(256);
        var directory = new ByteWriter(256);
        var containers = 0UL;
        var next = 0L;
        var scratch = new byte[BitmapContainer.BytesMax(ContainerBlocks)];
        for (var from = 0L; map.TryFindRun(from, out var run);)
        {
            var container = run.First >> ContainerShift;
            var first = container << ContainerShift;
            var blocks = Blocks(map, first);
            var form = BitmapContainer.Write(scratch, map.Words(first, blocks), blocks, out var length);
            payload.Bytes(scratch.AsSpan(0, length));
            directory.Varint((ulong)(container - next));
            directory.Byte((byte)form);
            directory.Varint((ulong)length);
            containers++;
            next = container + 1;
            from = next << ContainerShift;
        }

        var target = new ByteWriter(FixedBytes + directory.Length + payload.Length + 16);
        target.UInt32(Magic);
        target.Byte(Version);
        target.Byte((byte)map.Granularity.Shift);
        target.Int64(map.VolumeBytes);
        target.Varint(containers);
        target.Bytes(directory.Written);
        target.Bytes(payload.Written);
        return target.CloseWithChecksum();
    }

    /// <summary>Reads and verifies a bitmap; memory is used only for the bits that are there.</summary>
    /// <param name="source">The bytes.</param>
    /// <param name="map">The map, which the caller disposes; null with a fault.</param>
    public static CodecFault TryRead(ReadOnlySpan<byte> source, out NativeBitmap? map)
    {
        map = null;
        if (source.Length < FixedBytes + ChecksumBytes)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(source) != Magic)
            return CodecFault.BadMagic;
        if (source[4] != Version)
            return CodecFault.UnknownVersion;
        var body = source[..^ChecksumBytes];
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[body.Length..]) != Crc32C.Of(body))
            return CodecFault.BadChecksum;

        int shift = body[5];
        var volumeBytes = BinaryPrimitives.ReadInt64LittleEndian(body[6..]);
        if (shift is < Granularity.ShiftMin or > Granularity.ShiftMax || volumeBytes < 0
            || Granularity.FromShift(shift).BlockCount(volumeBytes) > NativeBitmap.BlocksMax)
            return CodecFault.BadValue;

        var read = new NativeBitmap(volumeBytes, Granularity.FromShift(shift));
        if (TryFill(read, body[FixedBytes..]))
        {
            map = read;
            return CodecFault.None;
        }

        read.Dispose();
        return CodecFault.BadValue;
    }

    /// <summary>Granularity and size of a bitmap that was read before.</summary>
    internal static (Granularity Granularity, long VolumeBytes) Shape(ReadOnlySpan<byte> source) =>
        (Granularity.FromShift(source[5]), BinaryPrimitives.ReadInt64LittleEndian(source[6..]));

    private static bool TryFill(NativeBitmap map, ReadOnlySpan<byte> body)
    {
        var position = 0;
        if (!Varint.TryRead(body, ref position, out var count) || count > (ulong)body.Length)
            return false;
        var entry = position;
        for (var i = 0UL; i < count; i++)
            if (!TryReadEntry(body, ref position, out _, out _, out _))
                return false;

        var words = new ulong[ContainerBlocks / 64];
        var containers = (map.BlockCount + ContainerBlocks - 1) >> ContainerShift;
        var container = 0L;
        for (var i = 0UL; i < count; i++, container++)
        {
            _ = TryReadEntry(body, ref entry, out var gap, out var form, out var length);
            if (gap > (ulong)(containers - container) || (container += (long)gap) >= containers
                || length > (ulong)(body.Length - position)
                || !TryReadContainer(map, container << ContainerShift, body.Slice(position, (int)length), (BitmapForm)form, words))
                return false;
            position += (int)length;
        }

        return position == body.Length;
    }

    private static bool TryReadContainer(
        NativeBitmap map, long first, ReadOnlySpan<byte> payload, BitmapForm form, ulong[] scratch)
    {
        var blocks = Blocks(map, first);
        var words = scratch.AsSpan(0, (blocks + 63) / 64);
        words.Clear();
        if (!BitmapContainer.TryRead(payload, form, words, blocks))
            return false;
        map.UnionWords(first, words);
        return true;
    }

    private static int Blocks(NativeBitmap map, long first) => (int)Math.Min(ContainerBlocks, map.BlockCount - first);

    private static bool TryReadEntry(
        ReadOnlySpan<byte> body, ref int position, out ulong gap, out byte form, out ulong length)
    {
        form = 0;
        length = 0;
        if (!Varint.TryRead(body, ref position, out gap) || position >= body.Length)
            return false;
        form = body[position++];
        return Varint.TryRead(body, ref position, out length);
    }
}
