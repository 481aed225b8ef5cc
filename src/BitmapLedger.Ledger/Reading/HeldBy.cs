using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Reading;

/// <summary>
/// Which bitmaps, slices and checkpoint ranges hold a write: the terms of the bits say it, through merges, banks and shrinks.
/// </summary>
/// <param name="now">The volume now.</param>
internal sealed class HeldBy(VolumeState now)
{
    /// <summary>Who holds a write of an event: <c>b0</c>, <c>slice:b0/4</c>, <c>checkpoint:nightly..now</c>.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="offset">First byte of the write.</param>
    /// <param name="end">The byte behind its last.</param>
    public IReadOnlyList<string> At(long number, long offset, long end)
    {
        var extent = new Extent(offset, end - offset);
        return
        [
            .. now.Bitmaps.Where(b => Holds(b.Bits) || (b.Successor is { } successor && Holds(successor)))
                .Select(b => b.Name).Order(StringComparer.Ordinal),
            .. now.Bitmaps.OrderBy(b => b.Name, StringComparer.Ordinal)
                .SelectMany(b => b.Slices.Where(s => Holds(s.Bits)).Select(s => $"slice:{b.Name}/{s.Number}")),
            .. now.Checkpoints.Where(c => c.Event < number).Select(c => $"checkpoint:{c.Name}..now"),
        ];

        bool Holds(BitExpression bits) => bits.Holds(number, extent);
    }
}
