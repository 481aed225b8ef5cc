using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>What events make of the bitmaps of a volume, in terms instead of bits.</summary>
internal static class BitmapFold
{
    /// <summary>The bitmaps after an event.</summary>
    /// <param name="before">The volume before it.</param>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number.</param>
    /// <param name="time">When.</param>
    public static IReadOnlyList<BitmapState> Apply(VolumeState before, ICommandEvent happened, long number, DateTimeOffset time)
    {
        var at = new Position(number, happened.AtLsn, time);
        return happened switch
        {
            BitmapAdded e => [Added(e, at), .. before.Bitmaps],
            BitmapImported e => [Imported(e, at), .. before.Bitmaps],
            BitmapRemoved e => [.. before.Bitmaps.Where(b => b.Name != e.Name)],
            BitmapCleared e => On(before, e.Name, b => b with { Bits = Fresh(b, number), Since = at }),
            BitmapEnabled e => On(before, e.Name, b => b.Recording ? b : Enabled(b, number)),
            BitmapDisabled e => On(before, e.Name, b => b with { Bits = b.Bits.Until(number), Recording = false }),
            BitmapMerged e => On(before, e.Target, b => Merged(b, e, before, number)),
            RetentionSet e => On(before, e.Bitmap, b => b with { Retention = e.Slices, Overflow = e.Overflow }),
            SliceBanked or SliceDeleted or SliceDropped or SlicesReset => SliceFold.Apply(before, happened, at),
            BackupStarted or IBackupEnded => BackupFold.Apply(before, happened, at),
            VolumeResized e when e.Size < before.Size => [.. before.Bitmaps.Select(b => Shrunk(b, e.Size, number))],
            _ => before.Bitmaps,
        };
    }

    /// <summary>The bitmaps with one of them changed.</summary>
    public static IReadOnlyList<BitmapState> On(VolumeState before, string name, Func<BitmapState, BitmapState> change) =>
        [.. before.Bitmaps.Select(b => b.Name == name ? change(b) : b)];

    /// <summary>No bits, and recording from an event on if the bitmap does.</summary>
    public static BitExpression Fresh(BitmapState bitmap, long number) =>
        bitmap.Recording ? BitExpression.Since(number, bitmap.Granularity) : BitExpression.Empty;

    private static BitmapState Added(BitmapAdded e, Position at)
    {
        var bitmap = new BitmapState(e.Name, e.Granularity, !e.Disabled, e.Persistent) { Run = e.Run, Since = at };
        return bitmap with { Bits = Fresh(bitmap, at.Event) };
    }

    private static BitmapState Imported(BitmapImported e, Position at)
    {
        var recording = e.Flags is { Disabled: false, Inconsistent: false };
        var bitmap = new BitmapState(e.Name, e.Granularity, recording, e.Flags.Persistent)
        {
            ReadOnly = e.Flags.ReadOnly,
            Inconsistent = e.Flags.Inconsistent,
            Since = at,
        };
        var given = BitExpression.Of(new BitTerm(new BitOrigin.Given(at.Event, 0), new(e.Granularity)));
        return bitmap with { Bits = Fresh(bitmap, at.Event).With(given) };
    }

    private static BitmapState Enabled(BitmapState bitmap, long number) => bitmap with
    {
        Bits = bitmap.Bits.With(BitExpression.Since(number, bitmap.Granularity)),
        Recording = true,
    };

    private static BitmapState Merged(BitmapState target, BitmapMerged e, VolumeState before, long number)
    {
        var bits = target.Bits;
        var since = target.Since;
        foreach (var (source, index) in e.Sources.Select((s, i) => (s, i)))
        {
            if (source.Volume is not null)
            {
                var given = new BitTerm(new BitOrigin.Given(number, index), new(source.Granularity!.Value));
                bits = bits.With(
                    BitExpression.Of(given).Merged(number, source.Granularity.Value, target.Granularity, before.Size));
                continue;
            }

            var own = before.Bitmap(source.Name)!;
            bits = bits.With(own.Bits.Merged(number, own.Granularity, target.Granularity, before.Size));
            if (own.Since.Event < since.Event)
                since = own.Since;
        }

        return target with { Bits = bits, Since = since };
    }

    private static BitmapState Shrunk(BitmapState bitmap, long size, long number) => bitmap with
    {
        Bits = bitmap.Bits.Shrunk(number, bitmap.Granularity, size),
        Successor = bitmap.Successor?.Shrunk(number, bitmap.Granularity, size),
        Slices = [.. bitmap.Slices.Select(s => s with { Bits = s.Bits.Shrunk(number, bitmap.Granularity, size) })],
    };
}
