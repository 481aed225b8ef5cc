using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Tests;

/// <summary>Evaluates an expression against a stream, event by event, as an index of the stream would.</summary>
internal static class ExpressionFold
{
    public static NativeBitmap Evaluate(BitExpression expression, long granularity, IReadOnlyList<IVolumeEvent> events)
    {
        var size = events.Aggregate(0L, SizeBehind);
        var bits = new NativeBitmap(size, Granularity.FromBytes(granularity));
        var sizeNow = 0L;
        for (var number = 1; number <= events.Count; number++)
        {
            sizeNow = SizeBehind(sizeNow, events[number - 1]);
            foreach (var extent in Touched(events[number - 1], sizeNow))
                foreach (var term in expression.Terms)
                    if (term.Origin is BitOrigin.Touched touched && touched.Has(number))
                        Mark(bits, term.Path.Carry(extent));
        }

        foreach (var term in expression.Terms.Where(t => t.Origin is BitOrigin.Given))
        {
            var given = (BitOrigin.Given)term.Origin;
            using var map = GivenBits.Read(GivenBits.In(events[(int)given.Event - 1], given.Index));
            term.Path.Carry(map, bits);
        }

        return bits;
    }

    private static long SizeBehind(long size, IVolumeEvent happened) => happened switch
    {
        VolumeCreated e => e.Size,
        VolumeResized e => e.Size,
        _ => size,
    };

    private static List<Extent> Touched(IVolumeEvent happened, long size)
    {
        List<Extent> extents = [];
        if (happened is WritesRecorded writes)
            foreach (var write in writes.Packed)
                extents.Add(new(write.Offset, write.Length));
        if (happened is TrackingLost)
            extents.Add(new(0, size));
        if (happened is WritesRecovered recovered)
            extents.AddRange(recovered.Extents.Where(e => e.Offset < size).Select(
                e => new Extent(e.Offset, Math.Min(e.Length, size - e.Offset))));
        return extents;
    }

    private static void Mark(NativeBitmap bits, Extent? carried)
    {
        if (carried is { } extent && extent.Offset < bits.VolumeBytes)
            bits.MarkDirty(extent.Offset, Math.Min(extent.End, bits.VolumeBytes) - extent.Offset);
    }
}
