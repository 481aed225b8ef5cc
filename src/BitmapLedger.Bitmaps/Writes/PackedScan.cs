using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>
/// One look over where the writes of a block lie, and at nothing else of them: several times as fast as reading the block.
/// What is looked at is checked; no write is given out, so that the rest need not be.
/// </summary>
public static class PackedScan
{
    /// <summary>Stretches that are read before any of them is marked: decoding and marking each go faster alone.</summary>
    private const int StretchesMax = 256;

    /// <summary>Marks every write of a block, clipped to the map. Nobody else may mark the map meanwhile; it may have been
    /// marked in part when a fault is found.</summary>
    /// <param name="source">The bytes of the block.</param>
    /// <param name="map">The map.</param>
    public static CodecFault TryMark(ReadOnlySpan<byte> source, NativeBitmap map)
    {
        ArgumentNullException.ThrowIfNull(map);
        return TryMark(source, map, out _);
    }

    /// <summary>The same for the writes after one LSN, up to and including another.</summary>
    /// <param name="source">The bytes of the block.</param>
    /// <param name="afterLsn">The last LSN that is out.</param>
    /// <param name="throughLsn">The last LSN that is in.</param>
    /// <param name="map">The map.</param>
    public static CodecFault TryMark(ReadOnlySpan<byte> source, long afterLsn, long throughLsn, NativeBitmap map)
    {
        ArgumentNullException.ThrowIfNull(map);
        var fault = PackedDecoder.TryOpen(source, out var header);
        if (header is null)
            return fault;
        var body = source[..^PackedHeader.ChecksumBytes];
        var isMarked = afterLsn < header.FirstLsn && throughLsn >= header.LastLsn
            ? TryMarkAll(body, header, map)
            : TryMarkPart(body, header, afterLsn, throughLsn, map);
        return isMarked ? CodecFault.None : CodecFault.BadValue;
    }

    /// <summary>The same for all, and says up to which LSN the block goes.</summary>
    /// <param name="source">The bytes of the block.</param>
    /// <param name="map">The map; null to mark nothing.</param>
    /// <param name="lastLsn">LSN of its last write or void; 0 with a fault.</param>
    public static CodecFault TryMark(ReadOnlySpan<byte> source, NativeBitmap? map, out long lastLsn)
    {
        lastLsn = 0;
        var fault = PackedDecoder.TryOpen(source, out var header);
        if (header is null)
            return fault;
        if (map is not null && !TryMarkAll(source[..^PackedHeader.ChecksumBytes], header, map))
            return CodecFault.BadValue;
        lastLsn = header.LastLsn;
        return CodecFault.None;
    }

    /// <summary>Whether any write of a block touches a stretch of the volume.</summary>
    /// <param name="source">The bytes of the block.</param>
    /// <param name="offsetBytes">First byte of the stretch.</param>
    /// <param name="endBytes">The byte behind its last.</param>
    /// <param name="touches">The answer; false with a fault.</param>
    public static CodecFault TryTouches(ReadOnlySpan<byte> source, long offsetBytes, long endBytes, out bool touches)
    {
        touches = false;
        var fault = PackedDecoder.TryOpen(source, out var header);
        if (header is null)
            return fault;
        var body = source[..^PackedHeader.ChecksumBytes];
        var (columns, shift) = (header.Columns, header.UnitShift);
        long end = 0, unitsMax = long.MaxValue >> shift;
        for (var i = 0; i < header.Count; i++)
        {
            if (!columns.TryNextStretch(body, unitsMax, out var start, ref end))
                return CodecFault.BadValue;
            touches |= start << shift < endBytes && end << shift > offsetBytes;
        }

        return CodecFault.None;
    }

    private static bool TryMarkAll(ReadOnlySpan<byte> body, PackedHeader header, NativeBitmap map)
    {
        ObjectDisposedException.ThrowIf(map.IsDisposed, map);
        var (columns, shift) = (header.Columns, header.UnitShift);
        Span<long> starts = stackalloc long[StretchesMax];
        Span<ulong> lengths = stackalloc ulong[StretchesMax];
        long end = 0, unitsMax = long.MaxValue >> shift;
        for (var left = header.Count; left > 0; left -= StretchesMax)
        {
            var count = Math.Min(left, StretchesMax);
            if (!columns.TryNextStretches(body, unitsMax, starts[..count], lengths[..count], ref end))
                return false;
            map.MarkAlone(starts[..count], lengths[..count], shift);
        }

        return true;
    }

    private static bool TryMarkPart(ReadOnlySpan<byte> body, PackedHeader header, long afterLsn, long throughLsn, NativeBitmap map)
    {
        ObjectDisposedException.ThrowIf(map.IsDisposed, map);
        var (columns, shift, blockShift) = (header.Columns, header.UnitShift, map.Granularity.Shift);
        long end = 0, unitsMax = long.MaxValue >> shift;
        var lsn = header.FirstLsn - 1;
        var nextVoid = 0;
        for (var i = 0; i < header.Count; i++)
        {
            if (!columns.TryNextStretch(body, unitsMax, out var start, ref end))
                return false;
            lsn++;
            while (nextVoid < header.Voids.Count && header.Voids[nextVoid].First == lsn)
                lsn = header.Voids[nextVoid++].Last + 1;
            if (lsn <= afterLsn || lsn > throughLsn)
                continue;
            var firstBlock = start << shift >> blockShift;
            if (firstBlock < map.BlockCount)
                map.MarkAlone(firstBlock, Math.Min(map.BlockCount - 1, ((end << shift) - 1) >> blockShift));
        }

        return true;
    }
}
