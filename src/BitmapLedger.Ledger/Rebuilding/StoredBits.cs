using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using Marten;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>The bits of every bitmap and slice.</summary>
/// <param name="store">Takes the rows.</param>
/// <param name="source">Connections.</param>
/// <param name="index">Reads the streams.</param>
/// <param name="clock">Says when to put down what was built.</param>
internal sealed class StoredBits(IDocumentStore store, NpgsqlDataSource source, HistoryIndex index, TimeProvider clock)
    : StoredProjection(source)
{
    private readonly BitmapBits _rows = new(source);

    public override string Name => BitmapBits.ProjectionName;

    public override IReadOnlyList<Table> Tables { get; } = [BitmapBits.Table, BitmapBits.SliceTable];

    protected override string LastEvent =>
        $"(select b.event from {LedgerSchema.Name}.bitmap_bits b where b.volume_id = s.id and b.version = $1)";

    protected override string Reachable => "s.version";

    public override async Task BuildAsync(VolumeProgress volume, int version, CancellationToken cancellation)
    {
        using var replay = await _rows.LoadAsync(volume.VolumeId, version, cancellation);
        await using var look = await index.LookAsync(volume.VolumeId, version, cancellation);
        var stored = replay.State.Event;
        await BitsFold.FollowAsync(replay, look, volume.Through, new(StoreAsync, clock), cancellation);
        await StoreAsync();

        async Task StoreAsync()
        {
            await using var session = store.LightweightSession();
            BitmapBits.Store(session, volume.VolumeId, version, replay, stored);
            await session.SaveChangesAsync(cancellation);
            stored = replay.State.Event;
            replay.ForgetChangedSlices();
        }
    }
}
