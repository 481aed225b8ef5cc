using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>What events of slices make of bitmaps.</summary>
internal static class SliceFold
{
    public static IReadOnlyList<BitmapState> Apply(VolumeState before, ICommandEvent happened, Position at) => happened switch
    {
        SliceBanked { Cause: Causes.Backup } e => BitmapFold.On(before, e.Bitmap, b => BankedByBackup(b, e, before)),
        SliceBanked e => BitmapFold.On(before, e.Bitmap, b => Banked(b, e, at)),
        SliceDeleted e => BitmapFold.On(before, e.Bitmap, b => b with { Slices = Joined(b.Slices, e.Slice) }),
        SliceDropped e => BitmapFold.On(
            before, e.Bitmap, b => b with { Slices = [.. b.Slices.Where(s => s.Number != e.Slice)] }),
        SlicesReset e => BitmapFold.On(before, e.Bitmap, b => b with { Slices = [], NextSlice = 0 }),
        _ => before.Bitmaps,
    };

    private static BitmapState Banked(BitmapState bitmap, SliceBanked e, Position at) => bitmap with
    {
        Slices = [.. bitmap.Slices, new(e.Slice, e.Cause, bitmap.Since, at, bitmap.Bits.Until(at.Event))],
        NextSlice = e.Slice + 1,
        Bits = BitmapFold.Fresh(bitmap, at.Event),
        Since = at,
    };

    /// <summary>The bits are frozen since the job began, and its successor is what comes after them.</summary>
    private static BitmapState BankedByBackup(BitmapState bitmap, SliceBanked e, VolumeState before)
    {
        var started = before.Backups.First(
            b => b.Banks.Any(s => s.Bitmap == bitmap.Name && s.Slice == e.Slice)).Started;
        return bitmap with
        {
            Slices = [.. bitmap.Slices, new(e.Slice, e.Cause, bitmap.Since, started, bitmap.Bits)],
            NextSlice = e.Slice + 1,
            Bits = BitExpression.Empty,
            Since = started,
        };
    }

    private static List<SliceState> Joined(IReadOnlyList<SliceState> slices, long number)
    {
        List<SliceState> left = [];
        foreach (var slice in slices)
        {
            if (slice.Number != number)
                left.Add(slice);
            else if (left.Count > 0)
                left[^1] = left[^1] with { To = slice.To, Bits = left[^1].Bits.With(slice.Bits) };
        }

        return left;
    }
}
