using BitmapLedger.Contracts;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Reading;

/// <summary>A slice as it is shown.</summary>
/// <param name="Slice">Its number.</param>
/// <param name="Count">Dirty bytes, whole granules, as QEMU's <c>count</c>.</param>
/// <param name="Sha256">Digest as <c>x-debug-block-dirty-bitmap-sha256</c> computes it.</param>
/// <param name="From">Where it begins: <c>slice-start:BITMAP/N</c>.</param>
/// <param name="To">Where it was banked: <c>slice:BITMAP/N</c>.</param>
/// <param name="Cause"><c>backup</c> or <c>manual</c>.</param>
public sealed record SliceView(long Slice, long Count, string Sha256, ResolvedPoint From, ResolvedPoint To, string Cause);

/// <summary>Reads the slices of a bitmap, from the projected bits and the events behind them.</summary>
/// <param name="points">Finds volumes.</param>
/// <param name="rows">The projected bits.</param>
/// <param name="reader">Reads events.</param>
public sealed class SliceReader(PointResolver points, BitmapBits rows, EventReader reader)
{
    /// <summary>The slices that are kept, ascending.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="bitmap">Name of the bitmap.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume or bitmap.</exception>
    public async Task<IReadOnlyList<SliceView>> ListAsync(string volume, string bitmap, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        if (state.Bitmap(bitmap) is null)
            throw new LedgerException(ErrorCode.NotFound, $"Dirty bitmap '{bitmap}' not found");
        using var replay = await reader.ReplayAsync(
            state.Id, await rows.LoadAsync(state.Id, cancellation), new Position(state.Event, long.MaxValue, default), cancellation);
        // The row may be further than the state that was read before it.
        return [.. (replay.State.Bitmap(bitmap)?.Slices ?? []).Select(s =>
        {
            var bits = replay.SliceBits(bitmap, s.Number);
            return new SliceView(
                s.Number, bits.DirtyBytes, bits.Sha256(), new($"slice-start:{bitmap}/{s.Number}", s.From),
                new($"slice:{bitmap}/{s.Number}", s.To), s.Cause);
        })];
    }
}
