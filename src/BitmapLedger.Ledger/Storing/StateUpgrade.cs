using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Storing;

/// <summary>
/// Upgrades what an earlier version derived from the events. Its decision states say nothing of what bits are made of: they
/// are folded anew from the command events. Its projected bits have other columns: they are dropped, and the daemon builds
/// them again; queries fold the stream meanwhile.
/// </summary>
/// <param name="store">The store.</param>
/// <param name="source">Connections.</param>
internal sealed class StateUpgrade(IDocumentStore store, NpgsqlDataSource source)
{
    /// <summary>The first schema whose states and bits are as they are now.</summary>
    private const int Since = 3;

    /// <summary>Whether a schema of some version holds what must be upgraded; 0 when there is none yet.</summary>
    public static bool IsNeeded(int version) => version is > 0 and < Since;

    /// <summary>Before the tables are patched: drops the projected bits, and how far they were.</summary>
    public async Task DropBitsAsync(CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(
            $"""
            drop table if exists {LedgerSchema.Name}.bitmap_bits;
            delete from {LedgerSchema.Name}.mt_event_progression where name like '{Rebuilding.BitmapBits.ProjectionName}:%';
            """);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Folds every decision state anew. A write changes nothing in it but how far it is, which it says
    /// itself.</summary>
    public async Task RebuildStatesAsync(CancellationToken cancellation)
    {
        await using var session = store.LightweightSession();
        foreach (var old in await session.Query<VolumeState>().ToListAsync(cancellation))
        {
            var state = await FoldAsync(session, old, cancellation);
            session.Store(state);
            session.Store(state.Checkpoints.Select(c => CheckpointRow.Of(old.Id, c)));
        }

        await session.SaveChangesAsync(cancellation);
    }

    private static async Task<VolumeState> FoldAsync(IQuerySession session, VolumeState old, CancellationToken cancellation)
    {
        var state = new VolumeState { Id = old.Id };
        var commands = session.Events.QueryAllRawEvents()
            .Where(e => e.StreamId == old.Id && e.EventTypeName != LedgerSchema.WritesType).OrderBy(e => e.Version);
        await foreach (var e in Marten.QueryableExtensions.ToAsyncEnumerable(commands, cancellation))
            state = state.Apply((IVolumeEvent)e.Data, e.Version, e.Timestamp);
        return state with { Event = old.Event, LastLsn = old.LastLsn };
    }
}
