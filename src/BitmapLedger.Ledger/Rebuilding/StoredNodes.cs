using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using Marten;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>The union tree.</summary>
/// <param name="store">Takes the rows.</param>
/// <param name="source">Connections.</param>
/// <param name="index">Reads the streams.</param>
internal sealed class StoredNodes(IDocumentStore store, NpgsqlDataSource source, HistoryIndex index) : StoredProjection(source)
{
    /// <summary>Events whose nodes are put down together: those of two levels, 4 million writes at most.</summary>
    private const int StepEvents = UnionTree.Fanout * UnionTree.Fanout;

    public override string Name => UnionNodes.ProjectionName;

    public override IReadOnlyList<Table> Tables { get; } = [UnionNodes.Table];

    protected override string LastEvent =>
        $"(select max(n.last_event) from {LedgerSchema.Name}.union_nodes n where n.volume_id = s.id and n.version = $1 and n.level = 1)";

    protected override string Reachable => $"s.version / {UnionTree.Fanout} * {UnionTree.Fanout}";

    public override async Task BuildAsync(VolumeProgress volume, int version, CancellationToken cancellation)
    {
        VolumeShape? shape = null;
        for (var at = volume.At; at < volume.Through;)
        {
            var through = Math.Min(volume.Through, (at / StepEvents + 1) * StepEvents);
            await using var look = await index.LookAsync(volume.VolumeId, version, cancellation);
            shape ??= new(await look.StateAsync(at, cancellation));
            await using var session = store.LightweightSession();
            await foreach (var (node, state) in UnionNodesProjection.SealAsync(look, [], shape, at, through, cancellation))
                session.QueueSqlCommand(UnionNodes.InsertInto(version), UnionNodes.Row(volume.VolumeId, node, state));
            await session.SaveChangesAsync(cancellation);
            at = through;
        }
    }
}
