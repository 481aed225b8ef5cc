using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Nodes;
using BitmapLedger.Domain.Queries;
using NpgsqlTypes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>Which row of <c>union_nodes</c> a node was read from: what PostgreSQL itself tells rows apart by.</summary>
/// <param name="ServerStart">When the server started: behind another start the rest may name another row, since a backup may
/// have been restored.</param>
/// <param name="Transaction">Which transaction added the row.</param>
/// <param name="Tuple">Where the row lies.</param>
/// <param name="VolumeId">The volume.</param>
/// <param name="Place">Which events it stands for.</param>
public readonly record struct NodeRow(DateTime ServerStart, uint Transaction, NpgsqlTid Tuple, Guid VolumeId, TreeNode Place);

/// <summary>
/// Nodes that were read lately, unpacked, so that the next question needs neither fetch nor decode them; the longest unused go
/// first. Any thread.
/// </summary>
/// <remarks>
/// It never says which nodes there are: a question asks its own snapshot that, and what it finds there names the row. A row is
/// added and never changed. One that retention deletes, that goes with its version or with its database is not in the snapshot of
/// any later question; and whatever takes its place, in a rebuilt version, a restored backup or by hand, is another row. So nothing
/// need be told to this, and nodes that nobody can name any more go by their age.
/// </remarks>
public sealed class KeptNodes
{
    private static readonly long _bytesMax = 32.MiB;

    /// <summary>One that is larger would take the place of all the others.</summary>
    private static readonly long _nodeBytesMax = 4.MiB;

    private readonly Lock _lock = new();
    private readonly Dictionary<NodeRow, LinkedListNode<(NodeRow Row, UnpackedNode Node)>> _found = [];

    /// <summary>The longest unused first.</summary>
    private readonly LinkedList<(NodeRow Row, UnpackedNode Node)> _kept = [];

    private long _bytes;

    /// <summary>Bytes that are kept.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Whether a node that takes so many bytes in its row may be kept.</summary>
    public static bool Takes(long rowBytes) => rowBytes <= _nodeBytesMax;

    /// <summary>The node of a row; null when it is not here.</summary>
    public UnpackedNode? Find(NodeRow row)
    {
        lock (_lock)
        {
            if (!_found.TryGetValue(row, out var node))
                return null;
            _kept.Remove(node);
            _kept.AddLast(node);
            return node.Value.Node;
        }
    }

    /// <summary>Keeps the node of a row for a while.</summary>
    public void Keep(NodeRow row, UnpackedNode node)
    {
        lock (_lock)
        {
            // Two questions at once may have read it.
            if (_found.ContainsKey(row))
                return;
            while (_bytes + node.HeldBytes > _bytesMax && _kept.First is { Value: var (oldest, gone) })
            {
                _kept.RemoveFirst();
                _found.Remove(oldest);
                _bytes -= gone.HeldBytes;
            }

            _found[row] = _kept.AddLast((row, node));
            _bytes += node.HeldBytes;
        }
    }
}
