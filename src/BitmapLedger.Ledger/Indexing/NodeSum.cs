using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Nodes;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>Sums up events, or the nodes below, to a node. One thread; the creator disposes.</summary>
internal sealed class NodeSum : IDisposable
{
    private readonly TreeNode _place;
    private readonly ChangeFold _fold;
    private long _firstLsn;
    private long _lastLsn;
    private bool _lost;
    private bool _inexact;

    /// <param name="place">Which events.</param>
    /// <param name="size">Size of the volume: the largest that it had meanwhile.</param>
    /// <param name="granularity">Bytes a block; not finer than any child's.</param>
    public NodeSum(TreeNode place, long size, Granularity granularity)
    {
        _place = place;
        _fold = new(
            size, NodeCodec.GranularityFor(size, granularity), new(place.First - 1, 0, default), new(place.Last, long.MaxValue, default));
    }

    public void Add(long number, IVolumeEvent happened)
    {
        _lost |= happened is TrackingLost;
        if (happened is not WritesRecorded { Packed: var packed })
        {
            _fold.Apply(happened, number);
            if (happened is HistoryCoalesced { Coalesced.Span: var span })
                Add(span.FirstLsn, span.LastLsn);
            return;
        }

        // All of its writes are in, so that only where they lie matters.
        _ = PackedScan.TryMark(packed.Bytes.Span, _fold.Changed);
        Add(packed.FirstLsn, packed.LastLsn);
    }

    /// <exception cref="CorruptionException">The child's bits are not what was written.</exception>
    public void Add(UnionNode child)
    {
        Union(child, _fold.Changed);
        Add(child.FirstLsn, child.LastLsn);
        _lost |= child.Lost;
        _inexact |= child.Inexact;
    }

    /// <summary>The node.</summary>
    public UnionNode Seal() => new(
        _place, _firstLsn, _lastLsn, _fold.Changed.Granularity, _lost, _inexact || !_fold.IsExact, NodeCodec.Encode(_fold.Changed));

    public void Dispose() => _fold.Dispose();

    /// <summary>Marks in a map what a node holds.</summary>
    /// <exception cref="CorruptionException">The node's bits are not what was written.</exception>
    public static void Union(UnionNode node, NativeBitmap map)
    {
        var fault = NodeCodec.TryUnion(node.Bits.Span, map);
        if (fault != CodecFault.None)
            throw Corruption(node, fault);
    }

    /// <summary>Says that a node's bits are not what was written.</summary>
    public static CorruptionException Corruption(UnionNode node, CodecFault fault) =>
        new($"the node of events {node.Place.First} to {node.Place.Last} in union_nodes", 0, fault.ToString());

    /// <summary>Size of the volume that a node was made for; 0 when its bits are not what was written.</summary>
    public static long SizeOf(UnionNode node)
    {
        _ = NodeDirectory.TryRead(node.Bits.Span, out var directory, out _);
        return directory?.VolumeBytes ?? 0;
    }

    private void Add(long firstLsn, long lastLsn)
    {
        if (_firstLsn == 0)
            _firstLsn = firstLsn;
        _lastLsn = Math.Max(_lastLsn, lastLsn);
    }
}
