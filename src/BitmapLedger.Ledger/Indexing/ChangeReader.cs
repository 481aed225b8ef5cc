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
        var reading = new Reading(look, new(size, granularity, from, to), from, to);
        try
        {
            // The events of both ends may be cut in the middle: they are never taken whole.
            var cover = UnionTree.Cover(from.Event, to.Event - 1, await look.SealedEventAsync(cancellation));
            var events = await reading.TakeNodesAsync(cover, cancellation);
            events.Add(from.Event);
            events.Add(to.Event);
            await reading.TakeEventsAsync(events, cancellation);
            return reading.Result();
        }
        catch
        {
            reading.Fold.Dispose();
            throw;
        }
    }

    private sealed class Reading(HistorySnapshot look, ChangeFold fold, Position from, Position to)
    {
        private readonly List<(long Event, Gap Gap)> _gaps = [];
        private bool _inexact;

        public ChangeFold Fold => fold;

        public ChangedBlocks Result() =>
            new(fold.Changed, fold.IsExact && !_inexact, [.. _gaps.OrderBy(g => g.Event).Select(g => g.Gap)]);

        /// <summary>Takes the nodes that are there, and the children of those that are not.</summary>
        /// <returns>What is left: single events.</returns>
        public async Task<EventStretches> TakeNodesAsync(IEnumerable<TreeNode> cover, CancellationToken cancellation)
        {
            var events = new EventStretches();
            var wanted = events.AddLeavesOf(cover);
            while (wanted.Count > 0)
            {
                List<TreeNode> lost = [];
                await foreach (var node in look.NodesAsync(wanted, fold.Changed.Granularity, cancellation))
                {
                    if (!Fits(node))
                        continue;
                    NodeSum.Union(node, fold.Changed);
                    _inexact |= node.Inexact;
                    wanted.Remove(node.Place);
                    if (node.Lost)
                        lost.Add(node.Place);
                }

                foreach (var place in lost)
                    await foreach (var command in look.CommandsAsync(place.First - 1, place.Last, cancellation))
                        Take(command);
                wanted = events.AddLeavesOf(wanted.SelectMany(n => n.Children));
            }

            return events;
        }

        /// <summary>Takes events, stretch by stretch.</summary>
        public async Task TakeEventsAsync(EventStretches events, CancellationToken cancellation)
        {
            foreach (var (first, last) in events.Merged())
                await foreach (var row in look.EventsAsync(first - 1, last, newestFirst: false, cancellation))
                    Take(row);
        }

        /// <summary>Where the volume ends in the middle of a block now and was larger then, the block says of its end what
        /// may be true only of what is cut off: then the children say it.</summary>
        private bool Fits(UnionNode node) =>
            fold.Changed.VolumeBytes % node.Granularity.Bytes == 0 || NodeSum.SizeOf(node) <= fold.Changed.VolumeBytes;

        private void Take(EventRow row)
        {
            if (row.IsWrites && row.Number > from.Event && row.Number < to.Event)
            {
                row.Mark(fold.Changed);
                return;
            }

            var before = fold.Gaps.Count;
            fold.Apply(row.Data(), row.Number);
            foreach (var gap in fold.Gaps.Skip(before))
                _gaps.Add((row.Number, gap));
        }
    }
}
