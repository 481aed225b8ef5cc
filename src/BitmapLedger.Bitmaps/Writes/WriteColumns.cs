using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>The five columns of a block, read side by side.</summary>
internal struct WriteColumns
{
    private WriteColumn.Cursor _times;
    private WriteColumn.Cursor _offsets;
    private WriteColumn.Cursor _lengths;
    private WriteColumn.Cursor _kinds;
    private WriteColumn.Cursor _connections;

    public readonly bool HaveSurplus =>
        _times.HasSurplus || _offsets.HasSurplus || _lengths.HasSurplus || _kinds.HasSurplus || _connections.HasSurplus;

    public static bool TryReadHeaders(ReadOnlySpan<byte> source, ref int position, out WriteColumns columns)
    {
        columns = default;
        return WriteColumn.TryReadHeader(source, ref position, out columns._times)
            && WriteColumn.TryReadHeader(source, ref position, out columns._offsets)
            && WriteColumn.TryReadHeader(source, ref position, out columns._lengths)
            && WriteColumn.TryReadHeader(source, ref position, out columns._kinds)
            && WriteColumn.TryReadHeader(source, ref position, out columns._connections);
    }

    /// <summary>Where each column ended; a column that did not end where the next begins was not what was
    /// written.</summary>
    public readonly bool EndedBefore(WriteColumns starts, int end) =>
        _times.Position <= starts._offsets.Position && _offsets.Position <= starts._lengths.Position
        && _lengths.Position <= starts._kinds.Position && _kinds.Position <= starts._connections.Position
        && _connections.Position == end;

    /// <summary>Reads one write behind <paramref name="write"/>, whose end and time the deltas count from.</summary>
    /// <returns>False when the bytes end or the write cannot be: checked once when the block is read.</returns>
    public bool TryNext(ReadOnlySpan<byte> source, int unitShift, long lsn, ref SingleWrite write)
    {
        if (!_times.TryNext(source, out var time) || !_offsets.TryNext(source, out var offset)
            || !_lengths.TryNext(source, out var length) || !_kinds.TryNext(source, out var kind)
            || !_connections.TryNext(source, out var connection))
            return false;

        var start = (write.End >> unitShift) + Varint.UnZigZag(offset);
        var unitsMax = long.MaxValue >> unitShift;
        if (time > (ulong)(long.MaxValue - write.TimeMicroseconds) || start < 0 || start > unitsMax || length == 0
            || length > (ulong)(unitsMax - start) || kind is < 1 or > 3 || connection > int.MaxValue)
            return false;

        write = new(lsn, write.TimeMicroseconds + (long)time, (WriteKind)kind, start << unitShift,
            (long)length << unitShift, (int)connection);
        return true;
    }
}
