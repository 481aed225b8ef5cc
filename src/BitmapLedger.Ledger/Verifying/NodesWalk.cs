using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>The union tree as it is walked: the nodes that an event seals, made anew and compared with those that are
/// stored.</summary>
/// <param name="look">The history.</param>
internal sealed class NodesWalk(HistorySnapshot look) : IProjectionWalk
{
    /// <inheritdoc />
    public async Task<ProjectionStep> StepAsync(
        ProjectionStep step, IVolumeEvent happened, long number, DateTimeOffset time, CancellationToken cancellation)
    {
        List<NodeStep> nodes = [];
        foreach (var place in UnionTree.SealedBy(number - 1, number))
        {
            if (await UnionNodesProjection.MakeAsync(look, place, cancellation) is not { } node)
                continue;
            using var touched = new NativeBitmap(NodeSum.SizeOf(node), node.Granularity);
            NodeSum.Union(node, touched);
            nodes.Add(new(
                place.Level, place.First, place.Last, node.Granularity.Bytes, touched.DirtyBytes, node.Bits.Length, node.Lost, node.Inexact,
                await StoredAsync(node, cancellation)));
        }

        return step with { Nodes = nodes };
    }

    /// <inheritdoc />
    public void Dispose()
    {
    }

    private async Task<string> StoredAsync(UnionNode node, CancellationToken cancellation)
    {
        await foreach (var stored in look.NodesAsync([node.Place], Granularity.FromShift(Granularity.ShiftMax), cancellation))
            return node with { Bits = default } == stored with { Bits = default } && node.Bits.Span.SequenceEqual(stored.Bits.Span)
                ? "same"
                : "different";
        return BitComparison.Missing;
    }
}
