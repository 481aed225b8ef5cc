using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// Marks in a map what stretches of a history touched, from the fewest nodes of the union tree and single events. One thread.
/// </summary>
/// <param name="look">The history.</param>
/// <param name="fold">Has the map; it stays the caller's.</param>
/// <param name="from">Where the fold begins.</param>
/// <param name="to">Where it ends.</param>
internal sealed class ChangeReading(HistorySnapshot look, ChangeFold fold, Position from, Position to)
{
    /// <summary>Stretches of single events that are asked for at once: more only where the tree has holes.</summary>
    private const int StretchesMax = 16;

    private readonly SortedDictionary<long, Gap> _gaps = [];

    /// <summary>Marks what was read last while the next is read: it is awaited before anybody else marks the map, and before the
    /// bytes behind it are written over.</summary>
    private Task _marking = Task.CompletedTask;

    private long? _sealed;
    private bool _inexact;

    /// <summary>False when more may be in the map than was written.</summary>
    public bool IsExact => fold.IsExact && !_inexact;

    /// <summary>Where writes may have gone unrecorded, by the number of the event that says so, oldest first.</summary>
    public IReadOnlyDictionary<long, Gap> Gaps => _gaps;

    /// <summary>Takes the events after one number up to and including another, all of them whole, and some that may be cut in
    /// the middle.</summary>
    /// <param name="afterEvent">The last event that is out.</param>
    /// <param name="throughEvent">The last event that is in; one before <paramref name="afterEvent"/> when none is.</param>
    /// <param name="cut">The others.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task TakeAsync(long afterEvent, long throughEvent, IEnumerable<long> cut, CancellationToken cancellation)
    {
        try
        {
            _sealed ??= await look.SealedEventAsync(cancellation);
            var events = await TakeNodesAsync(UnionTree.Cover(afterEvent, throughEvent, _sealed.Value), cancellation);
            foreach (var number in cut)
                events.Add(number);
            foreach (var stretches in events.Merged().Chunk(StretchesMax))
                await TakeEventsAsync(stretches, cancellation);
            await MarkedAsync();
        }
        finally
        {
            // Nobody marks a map that the caller has already.
            await MarkedAsync().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>What was read is marked.</summary>
    private Task MarkedAsync() => _marking.WaitAsync(CancellationToken.None);

    private async Task TakeEventsAsync((long First, long Last)[] stretches, CancellationToken cancellation)
    {
        await foreach (var row in look.EventsAsync(stretches, cancellation))
        {
            await MarkedAsync();
            if (row.IsWrites)
                _marking = Task.Run(
                    () => row.Mark(from.Lsn, row.Number < to.Event ? long.MaxValue : to.Lsn, fold.Changed), CancellationToken.None);
            else
                Take(row);
        }
    }

    /// <summary>Takes the nodes that are there, and the children of those that are not.</summary>
    /// <returns>What is left: single events.</returns>
    private async Task<EventStretches> TakeNodesAsync(IEnumerable<TreeNode> cover, CancellationToken cancellation)
    {
        var events = new EventStretches();
        var wanted = events.AddLeavesOf(cover);
        while (wanted.Count > 0)
        {
            foreach (var place in await UnionAsync(wanted, cancellation))
                await foreach (var loss in look.LossesAsync(place.First - 1, place.Last, cancellation))
                {
                    await MarkedAsync();
                    Take(loss);
                }

            wanted = events.AddLeavesOf(wanted.SelectMany(n => n.Children));
        }

        return events;
    }

    /// <summary>Takes what is there of some nodes, and takes them out of those that are wanted.</summary>
    /// <returns>Those in which writes may have gone unrecorded.</returns>
    private async Task<List<TreeNode>> UnionAsync(HashSet<TreeNode> wanted, CancellationToken cancellation)
    {
        List<TreeNode> lost = [];
        await foreach (var found in look.FoundNodesAsync([.. wanted], fold.Changed.Granularity, cancellation))
        {
            await MarkedAsync();
            if (!Fits(found))
                continue;
            _marking = Task.Run(() => found.Mark(fold.Changed), CancellationToken.None);
            var node = found.Node;
            _inexact |= node.Inexact;
            wanted.Remove(node.Place);
            if (node.Lost)
                lost.Add(node.Place);
        }

        return lost;
    }

    /// <summary>Where the volume ends in the middle of a block now and was larger then, the block says of its end what
    /// may be true only of what is cut off: then the children say it.</summary>
    private bool Fits(FoundNode found) =>
        fold.Changed.VolumeBytes % found.Node.Granularity.Bytes == 0 || found.Size <= fold.Changed.VolumeBytes;

    private void Take(EventRow row)
    {
        var before = fold.Gaps.Count;
        fold.Apply(row.Data(), row.Number);
        if (fold.Gaps.Count > before)
            _gaps[row.Number] = fold.Gaps[^1];
    }
}
