using System.Runtime.CompilerServices;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Nodes;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// Walks through a history and down the union tree, only into nodes that touch the bytes that are asked about; of each
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

    /// <summary>What is still to be walked; the next on top.</summary>
    private readonly Stack<(TreeNode Node, bool Touches)> _ahead = new();

    /// <summary>Every event that touches the bytes, newest first; commands may be among them. Each is valid until the
    /// next.</summary>
    /// <param name="from">Its event is in.</param>
    /// <param name="to">Its event is in.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async IAsyncEnumerable<EventRow> BackAsync(
        Position from, Position to, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await foreach (var (first, last) in StretchesAsync(from.Event - 1, to.Event, newestFirst: true, cancellation))
            await foreach (var row in look.EventsAsync(first - 1, last, newestFirst: true, cancellation))
                if (!row.IsWrites || row.Touches(offset, end))
                    yield return row;
    }

    /// <summary>Stretches of at most 16 sealed events, or of those that are not sealed yet, in which every event is that touches
    /// the bytes; others may be among them.</summary>
    /// <param name="afterEvent">The last event that is out.</param>
    /// <param name="throughEvent">The last event that is in.</param>
    /// <param name="newestFirst">Whether the last of them comes first.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async IAsyncEnumerable<(long First, long Last)> StretchesAsync(
        long afterEvent, long throughEvent, bool newestFirst, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var cover = UnionTree.Cover(afterEvent, throughEvent, await look.SealedEventAsync(cancellation));
        foreach (var node in newestFirst ? cover : cover.Reverse())
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
                foreach (var child in newestFirst ? next.Node.Children : next.Node.Children.Reverse())
                    _ahead.Push((child, false));
                continue;
            }

            var (first, last) = (next.Node.First, next.Node.Last);
            while (_ahead.TryPeek(out var beside) && beside is { Touches: true, Node.Level: 0 }
                && (newestFirst ? beside.Node.Last == first - 1 : beside.Node.First == last + 1))
            {
                _ahead.Pop();
                (first, last) = (Math.Min(first, beside.Node.First), Math.Max(last, beside.Node.Last));
            }

            yield return (first, last);
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
