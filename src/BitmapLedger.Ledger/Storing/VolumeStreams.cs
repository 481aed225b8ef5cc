using BitmapLedger.Contracts;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using Marten;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Who commanded what, kept as metadata of the events.</summary>
/// <param name="Actor">Who.</param>
/// <param name="Client">With what program.</param>
/// <param name="CommandId">Id of the command, or null.</param>
public sealed record CommandOrigin(string Actor, string Client, string? CommandId);

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
/// <param name="clock">Measures how long PostgreSQL is away.</param>
public sealed class VolumeStreams(IDocumentStore store, TimeProvider clock)
{
    /// <summary>How long a command looks for PostgreSQL before it answers busy.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(100);

    /// <summary>The state of a volume, or null.</summary>
    public async Task<VolumeState?> LoadAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await session.LoadAsync<VolumeState>(volumeId, cancellation);
    }

    /// <summary>The state of the volume of a name.</summary>
    /// <exception cref="LedgerException">There is none.</exception>
    public async Task<VolumeState> FindAsync(string name, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await session.Query<VolumeState>().FirstOrDefaultAsync(v => v.Name == name && !v.Removed, cancellation)
            ?? throw new LedgerException(
                ErrorCode.NotFound, $"Volume '{name}' not found", "bml volume list shows what there is");
    }

    /// <summary>Every volume that is watched, by name.</summary>
    public async Task<IReadOnlyList<VolumeState>> AllAsync(CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await session.Query<VolumeState>().Where(v => !v.Removed).OrderBy(v => v.Name).ToListAsync(cancellation);
    }

    /// <summary>What a command id came to, or null.</summary>
    public async Task<CommandRecord?> RecordAsync(string commandId, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await session.LoadAsync<CommandRecord>(commandId, cancellation);
    }

    /// <summary>
    /// Appends in one transaction. Whatever goes wrong, the streams are asked afterwards whether it happened: an append
    /// with an expected event number happens once or not at all.
    /// </summary>
    /// <param name="appends">What, to which streams. An expected event of 0 starts a stream.</param>
    /// <param name="origin">Who commanded it; null for the shipper.</param>
    /// <param name="record">What the command came to, or null.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">PostgreSQL stays away (<c>busy</c>), or somebody else appended.</exception>
    public async Task AppendAsync(
        IReadOnlyList<StreamAppend> appends, CommandOrigin? origin, CommandRecord? record, CancellationToken cancellation)
    {
        var started = clock.GetTimestamp();
        while (true)
        {
            try
            {
                await TryAppendAsync(appends, origin, record, cancellation);
                return;
            }
            catch (Exception failure) when (failure is not (OperationCanceledException or LedgerException))
            {
                if (await HappenedAsync(appends, record, failure, started, cancellation))
                    return;
            }
        }
    }

    private async Task TryAppendAsync(
        IReadOnlyList<StreamAppend> appends, CommandOrigin? origin, CommandRecord? record, CancellationToken cancellation)
    {
        await using var session = store.LightweightSession();
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

        foreach (var append in appends.Where(a => a.Events.Count > 0))
        {
            object[] events = [.. append.Events.Select(e => e.Data)];
            var action = append.ExpectedEvent == 0
                ? session.Events.StartStream<VolumeState>(append.VolumeId, events)
                : session.Events.Append(append.VolumeId, append.ExpectedEvent + events.Length, events);
            foreach (var (wrapped, happened) in action.Events.Zip(append.Events))
                wrapped.Timestamp = happened.Time;
        }

        if (record is not null)
            session.Insert(record);
        await session.SaveChangesAsync(cancellation);
    }

    /// <summary>Whether the append is there after all; waits for PostgreSQL to say.</summary>
    private async Task<bool> HappenedAsync(
        IReadOnlyList<StreamAppend> appends, CommandRecord? record, Exception failure, long started, CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                await using var session = store.QuerySession();
                if (appends.FirstOrDefault(a => a.Events.Count > 0) is not { } append)
                    return record is not null && await session.LoadAsync<CommandRecord>(
                        record.Id, cancellation) is not null;
                var state = await session.Events.FetchStreamStateAsync(append.VolumeId, cancellation);
                var there = state?.Version ?? 0;
                if (there == append.ExpectedEvent + append.Events.Count)
                    return true;
                if (there != append.ExpectedEvent)
                    throw new LedgerException(
                        ErrorCode.Failed, $"Volume {append.VolumeId} stands at event {there}, not at {append.ExpectedEvent}: another server writes to it");
                if (clock.GetElapsedTime(started) > _patience)
                    throw Away(failure);
                return false;
            }
            catch (Exception unreachable) when (unreachable is not (OperationCanceledException or LedgerException))
            {
                if (clock.GetElapsedTime(started) > _patience)
                    throw Away(unreachable);
                await Task.Delay(_pause, clock, cancellation);
            }
        }
    }

    private static LedgerException Away(Exception cause) =>
        new(
            ErrorCode.Busy, $"PostgreSQL does not answer: {cause.GetBaseException().Message}",
            "writes go on and are kept; try again");
}
