using System.Buffers.Binary;
using System.Text;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>Reads a block: checksum first, then every value of it once, so that nobody has to doubt it later.</summary>
internal static class PackedDecoder
{
    public static CodecFault TryRead(ReadOnlyMemory<byte> source, out PackedWrites? packed)
    {
        packed = null;
        var fault = TryOpen(source.Span, out var open);
        if (open is null)
            return fault;
        if (TryCheck(source.Span[..^PackedHeader.ChecksumBytes], open) is not { } header)
            return CodecFault.BadValue;
        packed = new(source, header);
        return CodecFault.None;
    }

    /// <summary>Reads everything but the columns, whose values are not looked at yet: times and sums of the header are not
    /// known.</summary>
    public static CodecFault TryOpen(ReadOnlySpan<byte> bytes, out PackedHeader? header)
    {
        header = null;
        if (bytes.Length < PackedHeader.FixedBytes + PackedHeader.ChecksumBytes)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != PackedHeader.Magic)
            return CodecFault.BadMagic;
        if (bytes[4] != PackedHeader.Version)
            return CodecFault.UnknownVersion;
        var body = bytes[..^PackedHeader.ChecksumBytes];
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[body.Length..]) != Crc32C.Of(body))
            return CodecFault.BadChecksum;

        header = TryReadHeader(body);
        return header is null ? CodecFault.BadValue : CodecFault.None;
    }

    public static CodecFault TryPeek(ReadOnlySpan<byte> prefix, out long firstLsn)
    {
        firstLsn = 0;
        if (prefix.Length < PackedHeader.FixedBytes)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(prefix) != PackedHeader.Magic)
            return CodecFault.BadMagic;
        if (prefix[4] != PackedHeader.Version)
            return CodecFault.UnknownVersion;
        firstLsn = BinaryPrimitives.ReadInt64LittleEndian(prefix[10..]);
        return firstLsn > 0 ? CodecFault.None : CodecFault.BadValue;
    }

    private static PackedHeader? TryReadHeader(ReadOnlySpan<byte> body)
    {
        int shift = body[5];
        var count = BinaryPrimitives.ReadUInt32LittleEndian(body[6..]);
        var firstLsn = BinaryPrimitives.ReadInt64LittleEndian(body[10..]);
        var firstTime = BinaryPrimitives.ReadInt64LittleEndian(body[18..]);
        var position = PackedHeader.FixedBytes;
        if (shift > Granularity.ShiftMax || count > PackedWrites.WritesMax || firstLsn < 1 || firstTime < 0
            || Names(body, ref position) is not { } names
            || Voids(body, ref position, firstLsn, (int)count, out var lastLsn) is not { } voids
            || !WriteColumns.TryReadHeaders(body, ref position, out var columns) || position != body.Length)
            return null;
        return new((int)count, shift, firstLsn, lastLsn, firstTime, firstTime, 0, names, voids, columns);
    }

    private static PackedHeader? TryCheck(ReadOnlySpan<byte> body, PackedHeader open)
    {
        var check = open.Columns;
        var timesMost = (ulong)(long.MaxValue - open.FirstTimeMicroseconds);
        return !check.TryAll(body, open.Count, open.UnitShift, timesMost, out var times, out var total)
            || check.HaveSurplus || !check.EndedBefore(open.Columns, body.Length)
            ? null
            : open with { LastTimeMicroseconds = open.FirstTimeMicroseconds + (long)times, TotalBytes = total };
    }

    private static List<ConnectionName>? Names(ReadOnlySpan<byte> body, ref int position)
    {
        if (!Varint.TryRead(body, ref position, out var count) || count > (ulong)(body.Length - position))
            return null;
        List<ConnectionName> names = new((int)Math.Min(count, 64));
        for (; count > 0; count--)
        {
            if (!Varint.TryRead(body, ref position, out var connection) || connection > int.MaxValue
                || !Varint.TryRead(body, ref position, out var length) || length > (ulong)(body.Length - position))
                return null;
            names.Add(new((int)connection, Encoding.UTF8.GetString(body.Slice(position, (int)length))));
            position += (int)length;
        }

        return names;
    }

    private static List<LsnRange>? Voids(
        ReadOnlySpan<byte> body, ref int position, long firstLsn, int writeCount, out long lastLsn)
    {
        lastLsn = 0;
        if (!Varint.TryRead(body, ref position, out var count) || count > (ulong)(body.Length - position))
            return null;
        List<LsnRange> voids = new((int)Math.Min(count, 64));
        var end = firstLsn;
        long left = writeCount;
        for (; count > 0; count--)
        {
            if (!Varint.TryRead(body, ref position, out var gap) || gap > (ulong)left
                || !Varint.TryRead(body, ref position, out var length) || length == 0
                || length > (ulong)(long.MaxValue - end - (long)gap - writeCount))
                return null;
            left -= (long)gap;
            voids.Add(new(end + (long)gap, end + (long)gap + (long)length - 1));
            end = voids[^1].Last + 1;
        }

        lastLsn = end + left - 1;
        return lastLsn < firstLsn ? null : voids;
    }
}
