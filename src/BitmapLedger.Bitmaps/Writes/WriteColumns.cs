using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
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

    /// <summary>Reads every value once; a column at a time, since most have few runs.</summary>
    /// <param name="source">The block.</param>
    /// <param name="count">Its writes.</param>
    /// <param name="unitShift">Its unit.</param>
    /// <param name="timesMost">How far times may go on.</param>
    /// <param name="times">How far they do.</param>
    /// <param name="totalBytes">Sum of all lengths in bytes, or the most that can be counted.</param>
    public bool TryAll(
        ReadOnlySpan<byte> source, int count, int unitShift, ulong timesMost, out ulong times, out long totalBytes)
    {
        totalBytes = 0;
        if (!_times.TryAll(source, count, 0, timesMost, out times) || times > timesMost)
            return false;
        long end = 0, unitsMax = long.MaxValue >> unitShift;
        for (var i = 0; i < count; i++)
        {
            if (!TryNextStretch(source, unitsMax, out var start, ref end))
                return false;
            totalBytes = unchecked(totalBytes + ((end - start) << unitShift)) is var sum && sum >= 0 ? sum : long.MaxValue;
        }

        return _kinds.TryAll(source, count, 1, 3, out _) && _connections.TryAll(source, count, 0, int.MaxValue, out _);
    }

    /// <summary>Reads where the next write lies, and nothing else of it.</summary>
    /// <param name="source">The block.</param>
    /// <param name="unitsMax">Largest end, in units.</param>
    /// <param name="start">First unit.</param>
    /// <param name="end">The unit behind the last; that of the write before when it is called.</param>
    public bool TryNextStretch(ReadOnlySpan<byte> source, long unitsMax, out long start, ref long end)
    {
        start = 0;
        if (!_offsets.TryNext(source, out var offset) || !_lengths.TryNext(source, out var length))
            return false;
        start = end + Varint.UnZigZag(offset);
        if (start < 0 || start > unitsMax || length == 0 || length > (ulong)(unitsMax - start))
            return false;
        end = start + (long)length;
        return true;
    }

    /// <summary>Reads where the next writes lie, a column at a time.</summary>
    /// <param name="source">The block.</param>
    /// <param name="unitsMax">Largest end, in units.</param>
    /// <param name="starts">Takes the first unit of each.</param>
    /// <param name="lengths">Takes how many units it is; as many as <paramref name="starts"/>.</param>
    /// <param name="end">The unit behind the last; that of the write before when it is called.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool TryNextStretches(ReadOnlySpan<byte> source, long unitsMax, Span<long> starts, Span<ulong> lengths, ref long end)
    {
        if (!_offsets.TryNext(source, MemoryMarshal.Cast<long, ulong>(starts)) || !_lengths.TryNext(source, lengths))
            return false;
        var bad = false;
        for (var i = 0; i < starts.Length && i < lengths.Length; i++)
        {
            var start = unchecked(end + Varint.UnZigZag((ulong)starts[i]));
            bad |= start < 0 | start > unitsMax | lengths[i] == 0 | lengths[i] > (ulong)(unitsMax - start);
            starts[i] = start;
            end = unchecked(start + (long)lengths[i]);
        }

        return !bad;
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
