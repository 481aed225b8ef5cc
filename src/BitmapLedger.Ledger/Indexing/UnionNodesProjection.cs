using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using JasperFx.Events;
using Marten;
using Marten.Events.Projections;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// Seals nodes of the union tree as their events happen, under Marten's daemon. A node is a function of the stream alone:
/// made again it is the same, byte for byte. What a page of events lacks is read from the stream, so that nothing depends
/// on how the daemon cuts its pages, or on what was projected before.
/// </summary>
/// <param name="index">Reads what a page lacks.</param>
public sealed class UnionNodesProjection(HistoryIndex index) : IProjection
{
    /// <summary>Where following the commands of each volume stands, so that a page goes on from the one before. Taken out
    /// while it is used: a page that fails, or a rebuild, begins anew.</summary>
    private readonly ConcurrentDictionary<Guid, VolumeShape> _shapes = new();

    /// <inheritdoc />
    public async Task ApplyAsync(
        IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        foreach (var stream in events.GroupBy(e => e.StreamId))
        {
            var page = stream.ToDictionary(e => e.Version);
            var (after, through) = (page.Keys.Min() - 1, page.Keys.Max());
            if (after / UnionTree.Fanout == through / UnionTree.Fanout)
                continue;
            await using var look = await index.LookAsync(stream.Key, cancellation);
            if (!_shapes.TryRemove(stream.Key, out var shape) || shape.State.Event > after)
                shape = new(await look.StateAsync(after - after % UnionTree.Fanout, cancellation));
            await foreach (var (node, state) in SealAsync(look, page, shape, after, through, cancellation))
                operations.QueueSqlCommand(UnionNodes.Insert, UnionNodes.Row(stream.Key, node, state));
            _shapes[stream.Key] = shape;
        }
    }

    /// <summary>Makes a node anew, from its events or from the nodes below.</summary>
    /// <param name="look">The history.</param>
    /// <param name="place">Which.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Null when some of what it would stand for is forgotten.</returns>
    internal static Task<UnionNode?> MakeAsync(HistorySnapshot look, TreeNode place, CancellationToken cancellation) =>
        MakeAsync(look, [], place, cancellation);

    /// <summary>Makes the nodes that the events after one number up to and including another complete.</summary>
    /// <param name="look">The history.</param>
    /// <param name="page">Events that need not be read.</param>
    /// <param name="shape">The volume at the first of these nodes or before; goes on with them.</param>
    /// <param name="afterEvent">The last event that is out.</param>
    /// <param name="throughEvent">The last event that is in.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Each node that can be made, and what <see cref="UnionNodes.Row"/> says of the volume behind it.</returns>
    internal static async IAsyncEnumerable<(UnionNode Node, VolumeState? State)> SealAsync(
        HistorySnapshot look, Dictionary<long, IEvent> page, VolumeShape shape, long afterEvent, long throughEvent,
        [EnumeratorCancellation] CancellationToken cancellation)
    {
        var work = new Page(look, page, shape);
        foreach (var place in UnionTree.SealedBy(afterEvent, throughEvent))
        {
            if (await work.SealAsync(place, cancellation) is { } node)
                yield return (node, place.Level == UnionNodes.StateLevel ? shape.State : null);
        }
    }

    private static async Task<UnionNode?> MakeAsync(
        HistorySnapshot look, Dictionary<long, IEvent> page, TreeNode place, CancellationToken cancellation)
    {
        var before = new VolumeShape(await look.StateAsync(place.First - 1, cancellation));
        return await new Page(look, page, before).SealAsync(place, cancellation);
    }

    /// <summary>The events of one volume in a page, and the nodes that they seal.</summary>
    private sealed class Page(HistorySnapshot look, Dictionary<long, IEvent> page, VolumeShape shape)
    {
        private readonly Dictionary<TreeNode, UnionNode?> _sealed = [];

        /// <summary>Null when some of what it would stand for is forgotten: no answer that can be asked for needs it.</summary>
        public async Task<UnionNode?> SealAsync(TreeNode place, CancellationToken cancellation)
        {
            var node = place.Level == 1
                ? await OfEventsAsync(place, cancellation)
                : await OfChildrenAsync(place, cancellation);
            _sealed[place] = node;
            return node;
        }

        private async Task<UnionNode?> OfEventsAsync(TreeNode place, CancellationToken cancellation)
        {
            await FollowAsync(place.First - 1, cancellation);
            var size = shape.Size;
            var lacking = place.First;
            while (lacking <= place.Last && !page.ContainsKey(lacking))
                lacking++;
            await foreach (var row in look.CommandsAsync(place.First - 1, lacking - 1, cancellation))
                Apply(row.Data(), row.Number, row.Time);
            // From there on the page has all that there is: other numbers are those of events that were coalesced.
            List<IEvent> rest = [];
            for (var number = lacking; number <= place.Last; number++)
                if (page.TryGetValue(number, out var e))
                    rest.Add(e);
            foreach (var e in rest)
                if (e.Data is ICommandEvent command)
                    Apply(command, e.Version, e.Timestamp);
            shape.Through(place.Last);

            using var sum = new NodeSum(place, size, shape.Finest);
            var forgotten = false;
            await foreach (var row in look.EventsAsync(place.First - 1, lacking - 1, newestFirst: false, cancellation))
                Sum(row.Data(), row.Number);
            foreach (var e in rest)
                Sum((IVolumeEvent)e.Data, e.Version);
            return forgotten ? null : sum.Seal();

            void Sum(IVolumeEvent happened, long number)
            {
                forgotten |= happened is HistoryCoalesced { Coalesced.IsGone: true };
                sum.Add(number, happened);
            }

            void Apply(IVolumeEvent command, long number, DateTimeOffset time)
            {
                shape.Apply(command, number, time);
                size = Math.Max(size, shape.Size);
            }
        }

        private async Task FollowAsync(long through, CancellationToken cancellation)
        {
            await foreach (var row in look.CommandsAsync(shape.State.Event, through, cancellation))
                shape.Apply(row.Data(), row.Number, row.Time);
            shape.Through(through);
        }

        private async Task<UnionNode?> OfChildrenAsync(TreeNode place, CancellationToken cancellation)
        {
            // The coarsest of the children first: their bits are summed up at its granularity.
            var children = place.Children.ToList();
            if (children.Any(c => _sealed.TryGetValue(c, out var made) && made is null))
                return null;
            var missing = children.Where(c => !_sealed.ContainsKey(c)).ToList();
            await foreach (var child in look.NodesAsync(missing, Granularity.FromShift(Granularity.ShiftMax), cancellation))
                _sealed[child.Place] = child with { Bits = child.Bits.ToArray() };
            foreach (var child in missing.Where(c => !_sealed.ContainsKey(c)))
            {
                _sealed[child] = await MakeAsync(look, page, child, cancellation);
                if (_sealed[child] is null)
                    return null;
            }

            var nodes = children.ConvertAll(c => _sealed[c]!.Value);
            using var sum = new NodeSum(place, nodes.Max(NodeSum.SizeOf), nodes.Max(n => n.Granularity));
            foreach (var node in nodes)
                sum.Add(node);
            foreach (var child in children)
                _sealed.Remove(child);
            return sum.Seal();
        }
    }
}
