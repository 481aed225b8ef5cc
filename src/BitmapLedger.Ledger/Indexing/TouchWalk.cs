using System.Runtime.CompilerServices;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Nodes;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// Walks back through a history and down the union tree, only into nodes that touch the bytes that are asked about; of each
/// node no more is fetched than its head and the containers of those bytes. A node that is not there, or that stands for lost
/// writes, is walked into.
/// </summary>
/// <param name="look">The history.</param>
/// <param name="offset">First byte of the volume that is asked about.</param>
/// <param name="end">The byte behind the last.</param>
public sealed class TouchWalk(HistorySnapshot look, long offset, long end)
{
    /// <summary>Nodes that are looked at together: all children of one.</summary>
    private const int LookMax = UnionTree.Fanout;

    /// <summary>What is still to be walked; the newest on top.</summary>
    private readonly Stack<(TreeNode Node, bool Touches)> _ahead = new();

    /// <summary>Every event that touches the bytes, newest first; commands may be among them. Each is valid until the
    /// next.</summary>
    /// <param name="from">Its event is in.</param>
    /// <param name="to">Its event is in.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async IAsyncEnumerable<EventRow> BackAsync(
        Position from, Position to, [EnumeratorCancellation] CancellationToken cancellation)
    {
        foreach (var node in UnionTree.Cover(from.Event - 1, to.Event, await look.SealedEventAsync(cancellation)))
            _ahead.Push((node, node.Level == 0));
        while (_ahead.TryPop(out var next))
        {
            if (!next.Touches)
            {
                _ahead.Push(next);
                await LookAsync(cancellation);
                continue;
            }

            if (next.Node.Level > 1)
            {
                foreach (var child in next.Node.Children)
                    _ahead.Push((child, false));
                continue;
            }

            var first = next.Node.First;
            while (_ahead.TryPeek(out var before) && before is { Touches: true, Node.Level: 0 } && before.Node.Last == first - 1)
                first = _ahead.Pop().Node.First;
            await foreach (var row in look.EventsAsync(first - 1, next.Node.Last, newestFirst: true, cancellation))
                if (!row.IsWrites || row.Touches(offset, end))
                    yield return row;
        }
    }

    /// <summary>Finds out which of the next nodes touch the bytes, and forgets those that do not.</summary>
    private async Task LookAsync(CancellationToken cancellation)
    {
        List<TreeNode> nodes = [];
        while (nodes.Count < LookMax && _ahead.TryPeek(out var next) && !next.Touches)
            nodes.Add(_ahead.Pop().Node);
        var heads = await look.HeadsAsync(nodes, NodeDirectory.HeadBytesGood, cancellation);
        Dictionary<TreeNode, (NodeDirectory Directory, NodeSlice Slice)> slices = [];
        foreach (var (node, head) in heads.Where(h => !h.Value.Lost))
        {
            var directory = await DirectoryAsync(node, head.Bytes, cancellation);
            slices[node] = (directory, directory.Find(offset, end));
        }

        var parts = await look.PartsAsync(
            [.. slices.Where(s => s.Value.Slice.LengthBytes > 0).Select(s => (s.Key, s.Value.Slice.OffsetBytes, s.Value.Slice.LengthBytes))],
            cancellation);
        nodes.Reverse();
        foreach (var node in nodes)
            if (!slices.TryGetValue(node, out var found)
                || Touches(node, found.Directory, found.Slice, parts.TryGetValue(node, out var part) ? part.Bytes : []))
                _ahead.Push((node, true));
    }

    private async Task<NodeDirectory> DirectoryAsync(TreeNode node, byte[] head, CancellationToken cancellation)
    {
        var fault = NodeDirectory.TryRead(head, out var directory, out var needed);
        if (fault == CodecFault.Incomplete && needed > head.Length)
        {
            var whole = await look.HeadsAsync([node], needed, cancellation);
            fault = NodeDirectory.TryRead(whole[node].Bytes, out directory, out _);
        }

        return directory ?? throw Damaged(node, fault);
    }

    private bool Touches(TreeNode node, NodeDirectory directory, NodeSlice slice, byte[] bytes)
    {
        var fault = directory.TryTouches(slice, bytes, offset, end, out var touches);
        return fault == CodecFault.None ? touches : throw Damaged(node, fault);
    }

    private static CorruptionException Damaged(TreeNode node, CodecFault fault) =>
        new($"the node of events {node.First} to {node.Last} in union_nodes", 0, fault.ToString());
}
