using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Where the bits of a bitmap come from when some events have happened.</summary>
/// <param name="Bitmap">The bitmap afterwards.</param>
/// <param name="From">Bitmaps before, by name, whose bits flow in.</param>
public sealed record BitTransfer(BitmapState Bitmap, IReadOnlyList<string> From)
{
    /// <summary>The transfers of a stretch of command events.</summary>
    public static IReadOnlyList<BitTransfer> Of(
        VolumeState before, IReadOnlyList<IVolumeEvent> events, VolumeState after)
    {
        var from = before.Bitmaps.ToDictionary(
            b => b.Name, b => (IReadOnlyList<string>)[b.Name], StringComparer.Ordinal);
        foreach (var happened in events)
        {
            switch (happened)
            {
                case BitmapAdded e:
                    from[e.Name] = [];
                    break;
                case BitmapCleared e:
                    from[e.Name] = [];
                    break;
                case BitmapRemoved e:
                    from.Remove(e.Name);
                    break;
            }
        }

        return [.. after.Bitmaps.Select(b => new BitTransfer(b, from[b.Name]))];
    }

    /// <summary>The finest granularity that any bitmap needs; 64 KiB when there is none.</summary>
    public static Granularity Finest(VolumeState state) => state.Bitmaps.Count == 0
        ? Granularity.Default
        : Granularity.FromBytes(state.Bitmaps.Min(b => b.Granularity));
}
