using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Retaining;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Retaining;

/// <summary>
/// Puts coalesced events in the place of others, which go to an archived stream of their own, all in one transaction; and
/// deletes archived streams, once what took the place of their events is proved to hold all of it.
/// </summary>
/// <remarks>
/// The volume's stream stays what it is, and so do the numbers of its events: whoever appends, or asks for an event by
/// number, needs no map. Archived means what Marten's <c>ArchiveStream</c> makes of a stream; that is said in the statements
/// here, since Marten would carry it out before them. A coalesced event takes the sequence number of the event whose number it has, since the daemon
/// rebuilds projections in that order; the archived one keeps its own with the sign turned, where the daemon never looks.
/// </remarks>
/// <param name="source">Connections.</param>
/// <param name="index">Reads streams.</param>
public sealed class HistoryArchive(NpgsqlDataSource source, HistoryIndex index)
{
    private const string AddStream =
        $"""
        insert into {LedgerSchema.Name}.mt_streams (id, type, version, created, tenant_id, is_archived)
        select ?, type, ?, created, tenant_id, true from {LedgerSchema.Name}.mt_streams where id = ?
        """;

    private const string Move =
        $"""
        update {LedgerSchema.Name}.mt_events e set stream_id = ?, seq_id = -e.seq_id, is_archived = true
        from unnest(?::bigint[], ?::bigint[]) as run(first, last)
        where e.stream_id = ? and e.version between run.first and run.last
        """;

    private const string Insert =
        $$"""
        insert into {{LedgerSchema.Name}}.mt_events
        (seq_id, id, stream_id, version, data, bdata, type, timestamp, tenant_id, mt_dotnet_type, is_archived)
        select -a.seq_id, run.id, ?, a.version, '{}', run.bytes, ?, a.timestamp, a.tenant_id, ?, false
        from unnest(?::bigint[], ?::uuid[], ?::bytea[]) as run(last, id, bytes)
        join {{LedgerSchema.Name}}.mt_events a on a.stream_id = ? and a.version = run.last
        """;

    private const string DeleteNodes =
        $"""
        delete from {LedgerSchema.Name}.union_nodes n using unnest(?::integer[], ?::bigint[]) as gone(level, first_event)
        where n.volume_id = ? and n.level = gone.level and n.first_event = gone.first_event and n.version = any(array(
        select unnest(array[v.active, v.building]) from {LedgerSchema.Name}.projection_versions v where v.projection = '{UnionNodes.ProjectionName}'))
        """;

    private const string SelectLeft =
        $"""
        select s.id from {LedgerSchema.Name}.mt_events e join {LedgerSchema.Name}.mt_streams s on s.id = (e.data ->> 'archive')::uuid
        where e.stream_id = $1 and e.type = 'history_retained' and s.is_archived order by e.version
        """;

    private const string SelectSpan = $"select min(version), max(version) from {LedgerSchema.Name}.mt_events where stream_id = $1";

    private const string SelectSequence = $"select seq_id from {LedgerSchema.Name}.mt_events where stream_id = $1 and version = $2";

    private static readonly string _type = EventTypes.Coalesced;

    private static readonly string _dotNetType = $"{typeof(HistoryCoalesced).FullName}, {typeof(HistoryCoalesced).Assembly.GetName().Name}";

    /// <summary>Replaces events, when the session is saved. Nodes of the union tree that stand for what is forgotten
    /// go.</summary>
    /// <param name="session">Takes what is to be done.</param>
    /// <param name="volumeId">The volume.</param>
    /// <param name="archive">Id of the archived stream.</param>
    /// <param name="runs">What is replaced, and by what; at least one.</param>
    public static void Replace(IDocumentSession session, Guid volumeId, Guid archive, IReadOnlyList<CoalescedRun> runs)
    {
        long[] lasts = [.. runs.Select(r => r.Last)];
        session.QueueSqlCommand(AddStream, archive, runs[^1].Last, volumeId);
        // What is replaced is one coalesced event, or every event since the first.
        session.QueueSqlCommand(
            Move, archive, runs.Select(r => r.Last - r.Replaced + 1).ToArray(), lasts, volumeId);
        session.QueueSqlCommand(
            Insert, volumeId, _type, _dotNetType, lasts, runs.Select(_ => Guid.CreateVersion7()).ToArray(),
            runs.Select(r => r.Bytes).ToArray(), archive);
        TreeNode[] gone = [.. runs.Where(r => r.IsGone).SelectMany(r => UnionTree.Above(r.Last)).Distinct()];
        session.QueueSqlCommand(DeleteNodes, gone.Select(n => n.Level).ToArray(), gone.Select(n => n.First).ToArray(), volumeId);
    }

    /// <summary>Number of an event among those of all volumes.</summary>
    public async Task<long> SequenceAsync(Guid volumeId, long number, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(SelectSequence);
        command.Parameters.Add(new() { Value = volumeId });
        command.Parameters.Add(new() { Value = number });
        return (long)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Deletes every archived stream of a volume. Cut off anywhere and asked again it goes on.</summary>
    /// <exception cref="CorruptionException">What took the place of archived events does not hold all of it; they
    /// stay.</exception>
    public async Task DeleteAllAsync(Guid volumeId, CancellationToken cancellation)
    {
        foreach (var archive in await LeftAsync(volumeId, cancellation))
        {
            await ProveAsync(volumeId, archive, cancellation);
            // The events go with their stream.
            await using var command = source.CreateCommand($"delete from {LedgerSchema.Name}.mt_streams where id = $1 and is_archived");
            command.Parameters.Add(new() { Value = archive });
            // It may be gigabytes, and holds up nobody.
            command.CommandTimeout = 0;
            await command.ExecuteNonQueryAsync(cancellation);
        }
    }

    /// <summary>Archived streams of a volume that are not deleted yet.</summary>
    public async Task<IReadOnlyList<Guid>> LeftAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(SelectLeft);
        command.Parameters.Add(new() { Value = volumeId });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        List<Guid> left = [];
        while (await row.ReadAsync(cancellation))
            left.Add(row.GetGuid(0));
        return left;
    }

    /// <summary>Reads archived events, and what took their place, side by side.</summary>
    private async Task ProveAsync(Guid volumeId, Guid archive, CancellationToken cancellation)
    {
        var (first, last) = await SpanAsync(archive, cancellation);
        await using var now = await index.LookAsync(volumeId, cancellation);
        await using var then = await index.LookAsync(archive, cancellation);
        await using var archived = then.EventsAsync(first - 1, last, newestFirst: false, cancellation).GetAsyncEnumerator(cancellation);
        var more = await archived.MoveNextAsync();
        await foreach (var row in now.EventsAsync(first - 1, last, newestFirst: false, cancellation))
        {
            if (!more || !row.IsCoalesced || row.Data() is not HistoryCoalesced { Coalesced: var coalesced } || archived.Current.Number > row.Number)
                continue;
            // Other passes may have coalesced in between.
            using var blocks = coalesced.IsGone ? null : new NativeBitmap(coalesced.VolumeBytes, coalesced.Granularity);
            Require(archived.Current.Number >= coalesced.Span.FirstEvent || coalesced.IsGone, row.Number);
            var lastLsn = 0L;
            for (; more && archived.Current.Number <= row.Number; more = await archived.MoveNextAsync())
            {
                var happened = archived.Current.Data();
                if (blocks is not null)
                    Mark(happened, blocks);
                lastLsn = happened is WritesRecorded writes ? writes.Packed.LastLsn : ((HistoryCoalesced)happened).Coalesced.Span.LastLsn;
            }

            Require(lastLsn == coalesced.Span.LastLsn, row.Number);
            if (blocks is null)
                continue;
            using var stored = new NativeBitmap(coalesced.VolumeBytes, coalesced.Granularity);
            coalesced.Mark(stored);
            Require(stored.Sha256() == blocks.Sha256(), row.Number);
        }

        Require(!more, last);
    }

    private static void Mark(IVolumeEvent happened, NativeBitmap blocks)
    {
        if (happened is WritesRecorded { Packed: var packed })
            _ = Bitmaps.Writes.PackedScan.TryMark(packed.Bytes.Span, blocks);
        else
            ((HistoryCoalesced)happened).Coalesced.Mark(blocks);
    }

    private async Task<(long First, long Last)> SpanAsync(Guid archive, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(SelectSpan);
        command.Parameters.Add(new() { Value = archive });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        return await row.ReadAsync(cancellation) && !await row.IsDBNullAsync(0, cancellation)
            ? (row.GetInt64(0), row.GetInt64(1))
            : (1, 0);
    }

    private static void Require(bool holds, long number)
    {
        if (!holds)
            throw new CorruptionException(
                $"event {number} of a volume's stream", 0, "it does not hold what the archived events hold whose place it took");
    }
}
