using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Counts writes by place and time. A write counts in every column that it touches, and in the row of its
/// time.</summary>
internal sealed class HeatCells(int columns, int rows, long size, Position from, Position to)
{
    private readonly long _start = Timestamps.ToMicroseconds(from.Time);
    private readonly long _span = Math.Max(1, Timestamps.ToMicroseconds(to.Time) - Timestamps.ToMicroseconds(from.Time));

    /// <summary>Row by row.</summary>
    public long[] Counts { get; } = new long[columns * rows];

    /// <summary>Writes counted, each once.</summary>
    public long Writes { get; private set; }

    public void Add(PackedWrites packed)
    {
        foreach (var write in packed)
        {
            if (write.Lsn <= from.Lsn || write.Lsn > to.Lsn)
                continue;
            Writes++;
            var row = (int)Math.Clamp(Scale(write.TimeMicroseconds - _start, rows, _span), 0, rows - 1);
            // What a volume was shrunk by is on no map of it.
            if (write.Offset >= size)
                continue;
            var last = Scale(Math.Min(write.End, size) - 1, columns, size);
            for (var column = Scale(write.Offset, columns, size); column <= last; column++)
                Counts[row * columns + column]++;
        }
    }

    private static long Scale(long value, int cells, long whole) => (long)((Int128)value * cells / whole);
}
