using System.Numerics;
using System.Text;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>Turns writes into columns.</summary>
internal static class PackedEncoder
{
    public static byte[] Encode(
        ReadOnlySpan<SingleWrite> writes, IReadOnlyList<ConnectionName> connections, IReadOnlyList<LsnRange> voids)
    {
        if (writes.Length > PackedWrites.WritesMax)
            throw new ArgumentException(
                $"{writes.Length} writes do not fit into one block of {PackedWrites.WritesMax}.");
        if (writes.Length == 0 && voids.Count == 0)
            throw new ArgumentException("A block holds a write or a void.");

        var firstLsn = Math.Min(
            writes.Length > 0 ? writes[0].Lsn : long.MaxValue, voids.Count > 0 ? voids[0].First : long.MaxValue);
        Check(writes, voids, firstLsn);
        var shift = UnitShift(writes);
        var target = new ByteWriter(64 + writes.Length * 8);
        target.UInt32(PackedHeader.Magic);
        target.Byte(PackedHeader.Version);
        target.Byte((byte)shift);
        target.UInt32((uint)writes.Length);
        target.Int64(firstLsn);
        target.Int64(writes.Length > 0 ? writes[0].TimeMicroseconds : 0);
        Names(target, connections);
        Voids(target, voids, firstLsn);
        Columns(target, writes, shift);
        return target.CloseWithChecksum();
    }

    private static void Check(ReadOnlySpan<SingleWrite> writes, IReadOnlyList<LsnRange> voids, long firstLsn)
    {
        var lsn = firstLsn;
        var time = 0L;
        var nextVoid = 0;
        foreach (var write in writes)
        {
            for (; nextVoid < voids.Count && voids[nextVoid].First == lsn && voids[nextVoid].Count > 0; nextVoid++)
                lsn = voids[nextVoid].Last + 1;
            if (write.Lsn != lsn++)
                throw new ArgumentException($"LSN {write.Lsn} stands where {lsn - 1} is due.");
            if (write.TimeMicroseconds < time || write.Length <= 0 || write.Offset < 0 || write.Length > long.MaxValue - write.Offset)
                throw new ArgumentException($"{write} cannot be.");
            time = write.TimeMicroseconds;
        }

        for (; nextVoid < voids.Count; nextVoid++)
        {
            if (voids[nextVoid].First != lsn || voids[nextVoid].Count <= 0)
                throw new ArgumentException($"{voids[nextVoid]} does not begin at LSN {lsn}.");
            lsn = voids[nextVoid].Last + 1;
        }
    }

    /// <summary>The largest power of two that divides every offset and length, as a shift.</summary>
    private static int UnitShift(ReadOnlySpan<SingleWrite> writes)
    {
        var all = 1L << Granularity.ShiftMax;
        foreach (var write in writes)
            all |= write.Offset | write.Length;
        return BitOperations.TrailingZeroCount(all);
    }

    private static void Names(ByteWriter target, IReadOnlyList<ConnectionName> connections)
    {
        target.Varint((ulong)connections.Count);
        foreach (var connection in connections)
        {
            var name = Encoding.UTF8.GetBytes(connection.Name);
            target.Varint((ulong)connection.Connection);
            target.Varint((ulong)name.Length);
            target.Bytes(name);
        }
    }

    private static void Voids(ByteWriter target, IReadOnlyList<LsnRange> voids, long firstLsn)
    {
        target.Varint((ulong)voids.Count);
        var end = firstLsn;
        foreach (var range in voids)
        {
            target.Varint((ulong)(range.First - end));
            target.Varint((ulong)range.Count);
            end = range.Last + 1;
        }
    }

    private static void Columns(ByteWriter target, ReadOnlySpan<SingleWrite> writes, int shift)
    {
        var values = new ulong[writes.Length];
        var time = writes.Length > 0 ? writes[0].TimeMicroseconds : 0;
        for (var i = 0; i < writes.Length; time = writes[i++].TimeMicroseconds)
            values[i] = (ulong)(writes[i].TimeMicroseconds - time);
        WriteColumn.Write(target, values);

        var end = 0L;
        for (var i = 0; i < writes.Length; end = writes[i++].End)
            values[i] = Varint.ZigZag((writes[i].Offset >> shift) - (end >> shift));
        WriteColumn.Write(target, values);

        for (var i = 0; i < writes.Length; i++)
            values[i] = (ulong)(writes[i].Length >> shift);
        WriteColumn.Write(target, values);

        for (var i = 0; i < writes.Length; i++)
            values[i] = (ulong)writes[i].Kind;
        WriteColumn.Write(target, values);

        for (var i = 0; i < writes.Length; i++)
            values[i] = (ulong)writes[i].Connection;
        WriteColumn.Write(target, values);
    }
}
