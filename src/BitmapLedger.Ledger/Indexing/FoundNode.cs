using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Nodes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>A node of the union tree that a question found. One thread.</summary>
/// <param name="node">What its row says; its bits only where it is not unpacked yet.</param>
/// <param name="row">The row.</param>
/// <param name="kept">Keeps it for later questions.</param>
/// <param name="unpacked">Its blocks, where they were kept.</param>
internal sealed class FoundNode(UnionNode node, NodeRow row, KeptNodes kept, UnpackedNode? unpacked)
{
    /// <summary>What its row says, but for its bits.</summary>
    public UnionNode Node => node with { Bits = default };

    /// <summary>Size of the volume that it was made for; 0 when its bits are not what was written.</summary>
    public long Size => unpacked?.VolumeBytes ?? NodeSum.SizeOf(node);

    /// <summary>Marks in a map what it holds, and keeps it if it is not too large.</summary>
    /// <exception cref="CorruptionException">Its bits are not what was written.</exception>
    public void Mark(NativeBitmap map)
    {
        if (unpacked is not null)
            unpacked.Mark(map);
        else if (KeptNodes.Takes(node.Bits.Length))
            TakeIn().Mark(map);
        else
            NodeSum.Union(node, map);
    }

    private UnpackedNode TakeIn()
    {
        var fault = UnpackedNode.TryUnpack(node.Bits.Span, out var taken);
        if (taken is null)
            throw NodeSum.Corruption(node, fault);
        kept.Keep(row, taken);
        return taken;
    }
}
