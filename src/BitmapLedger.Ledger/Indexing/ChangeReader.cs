using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// What changed between two positions, from the fewest nodes of the union tree and the single events at its edges. What the
/// tree has not got, or has only coarser than asked, is taken from its children and in the end from the stream: the tree
/// makes an answer quick, never different.
/// </summary>
/// <param name="index">The history.</param>
public sealed class ChangeReader(HistoryIndex index)
{
    /// <summary>Size of a volume at two positions.</summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="sizeNow">Its size now.</param>
    /// <param name="from">The first.</param>
    /// <param name="to">The second.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<(long From, long To)> SizesAsync(
        Guid volumeId, long sizeNow, Position from, Position to, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(volumeId, cancellation);
        return (await look.SizeAtAsync(from.Event, sizeNow, cancellation), await look.SizeAtAsync(to.Event, sizeNow, cancellation));
    }

    /// <summary>What changed after one position, up to and including another.</summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="size">Size of the volume in bytes at <paramref name="to"/>; what was behind it is left out.</param>
    /// <param name="granularity">Bytes to which changes are rounded outward.</param>
    /// <param name="from">Where it begins.</param>
    /// <param name="to">Where it ends.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>The caller disposes it.</returns>
    public async Task<ChangedBlocks> ReadAsync(
        Guid volumeId, long size, Granularity granularity, Position from, Position to, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(volumeId, cancellation);
        var fold = new ChangeFold(size, granularity, from, to);
        try
        {
            var reading = new ChangeReading(look, fold, from, to);
            // The events of both ends may be cut in the middle: they are never taken whole.
            await reading.TakeAsync(from.Event, to.Event - 1, [from.Event, to.Event], cancellation);
            return new(fold.Changed, reading.IsExact, [.. reading.Gaps.Values]);
        }
        catch
        {
            fold.Dispose();
            throw;
        }
    }

    /// <summary>Counts what changed since each of some events, the newest first.</summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="size">Size of the volume in bytes at <paramref name="to"/>.</param>
    /// <param name="granularity">Bytes to which changes are rounded outward.</param>
    /// <param name="since">Numbers of events that hold no writes, ascending.</param>
    /// <param name="to">Where the count ends.</param>
    /// <param name="take">Is given, for each from the last to the first, the bytes in whole blocks, and whether less may have
    /// changed.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task CountSinceAsync(
        Guid volumeId, long size, Granularity granularity, IReadOnlyList<long> since, Position to, Action<long, bool> take,
        CancellationToken cancellation)
    {
        if (since.Count == 0)
            return;
        await using var look = await index.LookAsync(volumeId, cancellation);
        var (from, behind) = (new Position(since[0], 0, default), to with { Event = to.Event + 1 });
        using var fold = new ChangeFold(size, granularity, from, behind);
        var reading = new ChangeReading(look, fold, from, behind);
        var through = to.Event;
        for (var i = since.Count - 1; i >= 0; i--)
        {
            await reading.TakeAsync(since[i], through, [], cancellation);
            take(fold.Changed.DirtyBytes, reading.IsExact);
            through = since[i];
        }
    }
}
