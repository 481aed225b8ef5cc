using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Whether the state of a volume is small enough to be kept between commands.</summary>
internal static class StateSize
{
    /// <summary>Bitmaps, slices, terms and the like of the largest state that is kept: about as many bytes as the reader of a
    /// journal has.</summary>
    private const int EntriesMax = 4096;

    /// <summary>Whether it is.</summary>
    public static bool IsKept(VolumeState state) => Entries(state) <= EntriesMax;

    private static int Entries(VolumeState state) =>
        state.Sizes.Count + state.Backups.Sum(b => 1 + b.Bitmaps.Count + b.Banks.Count + b.Drops.Count)
        + state.Bitmaps.Sum(b => 1 + b.Jobs.Count + b.Bits.Terms.Count + (b.Successor?.Terms.Count ?? 0)
            + b.Slices.Sum(s => 1 + s.Bits.Terms.Count));
}
