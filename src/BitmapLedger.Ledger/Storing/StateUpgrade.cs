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

    /// <summary>The first schema in which versions of the projected bits stand side by side.</summary>
    private const int VersionsSince = 7;

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

    /// <summary>Whether the projected bits of a schema of some version have no number.</summary>
    public static bool LacksVersions(int version) => version is >= Since and < VersionsSince;

    /// <summary>Before the tables are patched: the projected bits that are there become the first version. Asked again after an
    /// upgrade that was cut off, it leaves them as they are.</summary>
    public async Task NumberBitsAsync(CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(
            $"""
            do $upgrade$ begin
            if not exists (
                select from information_schema.columns
                where table_schema = '{LedgerSchema.Name}' and table_name = 'bitmap_bits' and column_name = 'version') then
                alter table {LedgerSchema.Name}.bitmap_bits add column version integer not null default 1,
                    drop constraint pkey_bitmap_bits_volume_id, add constraint pkey_bitmap_bits_volume_id_version primary key (volume_id, version);
                alter table {LedgerSchema.Name}.bitmap_bits alter column version drop default;
                alter table {LedgerSchema.Name}.slice_bits add column version integer not null default 1,
                    drop constraint pkey_slice_bits_volume_id_bitmap_slice,
                    add constraint pkey_slice_bits_volume_id_version_bitmap_slice primary key (volume_id, version, bitmap, slice);
                alter table {LedgerSchema.Name}.slice_bits alter column version drop default;
            end if;
            end $upgrade$;
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
