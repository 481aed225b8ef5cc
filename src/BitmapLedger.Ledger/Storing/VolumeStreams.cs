using BitmapLedger.Contracts;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Who commanded what, kept as metadata of the events.</summary>
/// <param name="Actor">Who.</param>
/// <param name="Client">With what program.</param>
/// <param name="CommandId">Id of the command, or null.</param>
public sealed record CommandOrigin(string Actor, string Client, string? CommandId)
{
    /// <summary>The event that the command was thought out at: nothing but writes may have been appended since. Null for
    /// whatever is there.</summary>
    public long? ExpectedEvent { get; init; }
}

/// <summary>An event and when it happened.</summary>
/// <param name="Data">The event.</param>
/// <param name="Time">When.</param>
public sealed record TimedEvent(IVolumeEvent Data, DateTimeOffset Time);

/// <summary>Events for one stream.</summary>
/// <param name="VolumeId">The stream.</param>
/// <param name="ExpectedEvent">Number of the last event that is there.</param>
/// <param name="Events">What is appended.</param>
public sealed record StreamAppend(Guid VolumeId, long ExpectedEvent, IReadOnlyList<TimedEvent> Events);

/// <summary>Reads decision states and appends to streams, exactly once even when an acknowledgement is lost.</summary>
/// <param name="store">The store.</param>
/// <param name="clock">Measures pauses.</param>
public sealed class VolumeStreams(IDocumentStore store, TimeProvider clock)
{
    /// <summary>A connection that is cut is no outage; one that is cut this often is.</summary>
    private const int AttemptsMax = 5;

    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(20);

    private readonly KnownVolumes _known = new();

    /// <summary>The state of a volume, without its checkpoints; or null.</summary>
    public async Task<VolumeState?> LoadAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var state = await session.LoadAsync<VolumeState>(volumeId, cancellation);
        if (state is not null)
            _known.Compare(state);
        return state;
    }

    /// <summary>A checkpoint of a volume, or null.</summary>
    public async Task<CheckpointState?> CheckpointAsync(Guid volumeId, string name, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return (await session.LoadAsync<CheckpointRow>(CheckpointRow.IdOf(volumeId, name), cancellation))?.State;
    }

    /// <summary>The checkpoints of a volume, oldest first.</summary>
    public async Task<IReadOnlyList<CheckpointState>> CheckpointsAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var rows = await session.Query<CheckpointRow>().Where(c => c.VolumeId == volumeId).ToListAsync(cancellation);
        return [.. rows.Select(r => r.State).OrderBy(c => c.Event)];
    }

    /// <summary>A state that knows those of some checkpoints that are there.</summary>
    /// <param name="state">The state.</param>
    /// <param name="names">Their names.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<VolumeState> WithCheckpointsAsync(
        VolumeState state, IReadOnlyCollection<string> names, CancellationToken cancellation)
    {
        if (names.Count == 0)
            return state;
        await using var session = store.QuerySession();
        var rows = await session.LoadManyAsync<CheckpointRow>(
            cancellation, names.Distinct(StringComparer.Ordinal).Select(n => CheckpointRow.IdOf(state.Id, n)));
        return state with { Checkpoints = [.. rows.Select(r => r.State).OrderBy(c => c.Event)] };
    }

    /// <summary>Something else may stand in the streams than was read of them: it may be another PostgreSQL.</summary>
    public void ForgetKnown() => _known.Forget();

    /// <summary>The id of the volume of a name.</summary>
    /// <exception cref="LedgerException">There is none.</exception>
    public async Task<Guid> IdAsync(string name, CancellationToken cancellation)
    {
        if (_known.Find(name) is { } known)
            return known.Id;
        await using var session = store.QuerySession();
        var ids = await session.Query<VolumeState>().Where(v => v.Name == name && !v.Removed).Select(v => v.Id).ToListAsync(cancellation);
        return ids is [var id, ..] ? id : throw NotFound(name);
    }

    /// <summary>States that know all their checkpoints.</summary>
    public async Task<IReadOnlyList<VolumeState>> WithCheckpointsAsync(
        IReadOnlyList<VolumeState> states, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        Guid[] ids = [.. states.Select(s => s.Id)];
        var rows = (await session.Query<CheckpointRow>().Where(c => c.VolumeId.IsOneOf(ids)).ToListAsync(cancellation))
            .ToLookup(r => r.VolumeId, r => r.State);
        return [.. states.Select(s => s with { Checkpoints = [.. rows[s.Id].OrderBy(c => c.Event)] })];
    }

    /// <summary>The state of the volume of a name, without its checkpoints.</summary>
    /// <exception cref="LedgerException">There is none.</exception>
    public async Task<VolumeState> FindAsync(string name, CancellationToken cancellation)
    {
        if (_known.Find(name) is { } known)
            return known;
        await using var session = store.QuerySession();
        return await session.Query<VolumeState>().FirstOrDefaultAsync(v => v.Name == name && !v.Removed, cancellation)
            ?? throw NotFound(name);
    }

    /// <summary>Every volume that is watched, by name, without its checkpoints.</summary>
    public async Task<IReadOnlyList<VolumeState>> AllAsync(CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        if (_known.All() is var (known, asked))
        {
            if (asked.Length > 0)
                known.AddRange((await session.LoadManyAsync<VolumeState>(cancellation, asked)).Where(s => !s.Removed));
            return [.. known.OrderBy(s => s.Name, StringComparer.Ordinal)];
        }

        var changes = _known.Changes;
        var isAlone = _known.IsAlone || await IsAloneAsync(session, cancellation);
        var all = await session.Query<VolumeState>().Where(v => !v.Removed).ToListAsync(cancellation);
        if (isAlone)
            _known.Keep(all, changes);
        return [.. all.OrderBy(s => s.Name, StringComparer.Ordinal)];
    }

    /// <summary>Which of some volumes are out of watch.</summary>
    public async Task<IReadOnlyList<Guid>> RemovedAsync(IReadOnlyList<Guid> ids, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var states = await session.LoadManyAsync<VolumeState>(cancellation, ids);
        return [.. states.Where(s => s.Removed).Select(s => s.Id)];
    }

    /// <summary>What a command id came to, or null.</summary>
    public async Task<CommandRecord?> RecordAsync(string commandId, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await session.LoadAsync<CommandRecord>(commandId, cancellation);
    }

    /// <summary>Holds a command to the event that it was thought out at; asked inside the volume's lane.</summary>
    /// <param name="state">The volume now.</param>
    /// <param name="origin">Who commands, and at which event.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="ExpectationException">Something other than writes was appended since, or there is no such
    /// event.</exception>
    public async Task RequireAsync(VolumeState state, CommandOrigin origin, CancellationToken cancellation)
    {
        // That it is gone says more than at which event it went.
        if (state.Removed || origin.ExpectedEvent is not { } expected)
            return;
        if (expected < 1 || expected > state.Event)
            throw new ExpectationException(state.Name, expected, state.Event);
        await using var session = store.QuerySession();
        var moved = expected < state.Event && await session.Events.QueryAllRawEvents()
            .Where(e => e.StreamId == state.Id && e.Version > expected && e.EventTypeName != LedgerSchema.WritesType)
            .AnyAsync(cancellation);
        if (moved)
            throw new ExpectationException(state.Name, expected, state.Event);
    }

    /// <summary>
    /// Appends in one transaction. When an acknowledgement is lost, the stream is asked for the very events: an append
    /// with an expected event number happens once or not at all, and what stands there may be somebody else's.
    /// </summary>
    /// <param name="appends">What, to which streams. An expected event of 0 starts a stream.</param>
    /// <param name="origin">Who commanded it; null for the shipper.</param>
    /// <param name="record">What the command came to, or null.</param>
    /// <param name="cancellation">Ends the attempt; then it is not known whether it happened.</param>
    /// <param name="along">What else is done in the transaction; null for nothing.</param>
    /// <returns>Null when it happened; what the command id came to when it was used before, and then nothing
    /// happened.</returns>
    /// <exception cref="LedgerException">PostgreSQL is away, or something else was appended first (<c>busy</c>).</exception>
    public async Task<CommandRecord?> AppendAsync(
        IReadOnlyList<StreamAppend> appends, CommandOrigin? origin, CommandRecord? record, CancellationToken cancellation,
        Action<IDocumentSession>? along = null)
    {
        StreamAppend[] written = [.. appends.Where(a => a.Events.Count > 0)];
        var happened = false;
        _known.Begin(written);
        try
        {
            var earlier = await AppendAsync(written, origin, record, along, cancellation);
            happened = earlier is null;
            return earlier;
        }
        finally
        {
            _known.End(written, happened);
        }
    }

    private static LedgerException NotFound(string name) =>
        new(ErrorCode.NotFound, $"Volume '{name}' not found", "bml volume list shows what there is");

    /// <summary>Whether nobody is in the middle of an append: the last one of a server before this one, or one that was given up
    /// here, may be under way when the streams are read. Neither begins anything any more, and is behind its first statement.</summary>
    private static async Task<bool> IsAloneAsync(IQuerySession session, CancellationToken cancellation) =>
        (await session.AdvancedSql.QueryAsync<bool>(
            """
            select not exists (
                select from pg_stat_activity a join pg_stat_activity own on own.pid = pg_backend_pid()
                where a.datname = own.datname and a.usename = own.usename and a.backend_xid is not null and a.pid <> own.pid)
            """, cancellation))[0];

    private async Task<CommandRecord?> AppendAsync(
        StreamAppend[] written, CommandOrigin? origin, CommandRecord? record, Action<IDocumentSession>? along, CancellationToken cancellation)
    {
        Guid[][] ids = [.. written.Select(a => a.Events.Select(_ => Guid.CreateVersion7()).ToArray())];
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await TryAppendAsync(written, ids, origin, record, along, cancellation);
                return null;
            }
            catch (Exception failure) when (failure is not (OperationCanceledException or LedgerException))
            {
                var (happened, earlier) = await HappenedAsync(written, ids, record, cancellation);
                if (happened || earlier is not null)
                    return earlier;
                if (!PostgresWatch.IsOutage(failure))
                    throw;
                if (attempt == AttemptsMax || failure.GetBaseException() is PostgresException)
                    throw PostgresWatch.Busy(failure.GetBaseException().Message);
                await Task.Delay(_pause, clock, cancellation);
            }
        }
    }

    private async Task TryAppendAsync(
        StreamAppend[] appends, Guid[][] ids, CommandOrigin? origin, CommandRecord? record, Action<IDocumentSession>? along,
        CancellationToken cancellation)
    {
        await using var session = store.LightweightSession();
        along?.Invoke(session);
        if (origin is not null)
        {
            session.LastModifiedBy = origin.Actor;
            session.CorrelationId = origin.CommandId;
            session.SetHeader("client", origin.Client);
            if (origin.CommandId is not null)
                session.SetHeader("command_id", origin.CommandId);
            if (appends.Sum(a => a.Events.Count) > 1)
                session.SetHeader("transaction", Guid.CreateVersion7().ToString("D"));
        }

        foreach (var (append, eventIds) in appends.Zip(ids))
        {
            object[] events = [.. append.Events.Select(e => e.Data)];
            var action = append.ExpectedEvent == 0
                ? session.Events.StartStream<VolumeState>(append.VolumeId, events)
                : session.Events.Append(append.VolumeId, append.ExpectedEvent + events.Length, events);
            foreach (var ((wrapped, happened), id) in action.Events.Zip(append.Events).Zip(eventIds))
            {
                wrapped.Id = id;
                wrapped.Timestamp = happened.Time;
            }
        }

        if (record is not null)
            session.Insert(record);
        await session.SaveChangesAsync(cancellation);
    }

    /// <summary>Whether the append is there after all, or why it cannot be.</summary>
    private async Task<(bool Happened, CommandRecord? Earlier)> HappenedAsync(
        StreamAppend[] appends, Guid[][] ids, CommandRecord? record, CancellationToken cancellation)
    {
        try
        {
            await using var session = store.QuerySession();
            foreach (var (append, eventIds) in appends.Zip(ids))
            {
                var through = append.ExpectedEvent + append.Events.Count;
                var page = await session.Events.FetchStreamAsync(
                    append.VolumeId, version: through, fromVersion: append.ExpectedEvent + 1, token: cancellation);
                if (page.Count > 0 && page[0].Id == eventIds[0])
                    return (true, null);
                if (page.Count > 0)
                    throw new LedgerException(
                        ErrorCode.Busy, $"Something else was appended to volume {append.VolumeId} behind event {append.ExpectedEvent}",
                        "nothing was done; try again");
            }

            return (false, record is null ? null : await session.LoadAsync<CommandRecord>(record.Id, cancellation));
        }
        catch (Exception unreachable) when (PostgresWatch.IsOutage(unreachable))
        {
            throw new LedgerException(
                ErrorCode.Busy,
                $"PostgreSQL went away while it was asked to append: {unreachable.GetBaseException().Message}",
                "ask again with the same --command-id: what was done is not done twice");
        }
    }
}
