using BitmapLedger.Contracts;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>A slice as it is shown.</summary>
/// <param name="Slice">Its number.</param>
/// <param name="Count">Dirty bytes, whole granules, as QEMU's <c>count</c>.</param>
/// <param name="Sha256">Digest as <c>x-debug-block-dirty-bitmap-sha256</c> computes it.</param>
/// <param name="From">Where it begins: <c>slice-start:BITMAP/N</c>.</param>
/// <param name="To">Where it was banked: <c>slice:BITMAP/N</c>.</param>
/// <param name="Cause"><c>backup</c> or <c>manual</c>.</param>
public sealed record SliceView(long Slice, long Count, string Sha256, ResolvedPoint From, ResolvedPoint To, string Cause);

/// <summary>Reads the slices of a bitmap, each from the stretches of history that it is made of.</summary>
/// <param name="points">Finds volumes.</param>
/// <param name="index">The history, and the tree over it.</param>
public sealed class SliceReader(PointResolver points, HistoryIndex index)
{
    /// <summary>The slices that are kept, ascending.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="bitmap">Name of the bitmap.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume or bitmap.</exception>
    public async Task<IReadOnlyList<SliceView>> ListAsync(string volume, string bitmap, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        var kept = state.Bitmap(bitmap) ?? throw new LedgerException(ErrorCode.NotFound, $"Dirty bitmap '{bitmap}' not found");
        List<SliceView> views = [];
        await using var look = await index.LookAsync(state.Id, cancellation);
        await BitsReader.ReadAsync(
            look, state, new(state.Event, state.LastLsn, default), [.. kept.Slices.Select(s => WantedBits.Of(kept, s))], (i, bits) =>
            {
                var slice = kept.Slices[i];
                views.Add(new(
                    slice.Number, bits.Map.DirtyBytes, bits.Map.Sha256(), new($"slice-start:{bitmap}/{slice.Number}", slice.From),
                    new($"slice:{bitmap}/{slice.Number}", slice.To), slice.Cause));
            }, cancellation);
        return views;
    }
}
