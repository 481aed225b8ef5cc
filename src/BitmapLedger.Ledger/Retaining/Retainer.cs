using System.Runtime.CompilerServices;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Retaining;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Marten;

namespace BitmapLedger.Ledger.Retaining;

/// <summary>
/// Retention of histories: coalesces the single writes that are older than one age, and forgets those older than another that
/// nothing needs. Works in passes. Each is one transaction, after which the history is whole and says what was done to it:
/// cut off between any two, asked again it goes on. The lane is held for the transaction only, since what is old does not
/// change; writes and commands go on meanwhile.
/// </summary>
/// <param name="streams">Appends.</param>
/// <param name="lanes">The lanes.</param>
/// <param name="agent">Says what time it is for a volume.</param>
/// <param name="shipper">Ships what stands before the event of it.</param>
/// <param name="points">Finds what is old.</param>
/// <param name="index">Reads streams.</param>
/// <param name="archive">Replaces events.</param>
/// <param name="once">Knows what was commanded before.</param>
/// <param name="store">Says how far the projections are.</param>
/// <param name="clock">Measures waiting.</param>
public sealed class Retainer(
    VolumeStreams streams, Lanes lanes, IAgent agent, Shipper shipper, PointResolver points, HistoryIndex index,
    HistoryArchive archive, OnceOnly once, IDocumentStore store, TimeProvider clock)
{
    /// <summary>Replaced in one transaction: at most 16 events each, so that a lane is held for a fraction of a second.</summary>
    private const int PassRunsMax = 1024;

    /// <summary>What a transaction brings into the database, and what is in memory at a time.</summary>
    private const long PassBytesMax = 32 << 20;

    /// <summary>What a transaction puts aside, and what is read again and deleted behind it at a time.</summary>
    private const long PassArchivedMax = 256 << 20;

    private const string MarkName = "HighWaterMark";

    private static readonly TimeSpan _markPatience = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan _markPause = TimeSpan.FromMilliseconds(20);

    /// <summary>Applies retention.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="exact">Age up to which single writes are kept.</param>
    /// <param name="coalesced">Age up to which older ones are kept coalesced; not below <paramref name="exact"/>.</param>
    /// <param name="origin">Who commands.</param>
    /// <param name="cancellation">Ends the attempt; the passes that were done stay done.</param>
    /// <exception cref="LedgerException">An age cannot be, there is no such volume, or the projections are too far behind
    /// (<c>busy</c>).</exception>
    public async Task<RetainAnswer> RetainAsync(
        string volume, string? exact, string? coalesced, CommandOrigin origin, CancellationToken cancellation)
    {
        var ages = RetentionAges.Of(exact, coalesced);
        var fingerprint = $"retain {volume} {ages.ExactText} {ages.CoalescedText}";
        var answer = (await once.ActAsync(
            origin, fingerprint, () => ActAsync(volume, ages, origin, fingerprint, cancellation), cancellation))[0];
        return new(answer.Volume, DryRun: false, answer.Event, answer.Lsn, answer.Time, answer.Retained!);
    }

    /// <summary>Says what retention would do, and does nothing.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="exact">Age up to which single writes are kept.</param>
    /// <param name="coalesced">Age up to which older ones are kept coalesced.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">An age cannot be, or there is no such volume.</exception>
    public async Task<RetainAnswer> TryAsync(string volume, string? exact, string? coalesced, CancellationToken cancellation)
    {
        var ages = RetentionAges.Of(exact, coalesced);
        var state = await points.CurrentAsync(volume, cancellation);
        using var retention = await BeginAsync(state, ages, cancellation);
        while (!retention.IsDone)
            await FindAsync(state.Id, retention, cancellation);
        var now = await points.LatestAsync(state, cancellation);
        return new(
            state.Name, DryRun: true, state.Event, state.LastLsn, Timestamps.Show(now), retention.Answer(ages.ExactText, ages.CoalescedText));
    }

    /// <summary>Finds the runs of the next pass.</summary>
    private async Task<IReadOnlyList<CoalescedRun>> FindAsync(Guid volumeId, Retention retention, CancellationToken cancellation)
    {
        List<CoalescedRun> runs = [];
        long bytesBefore = 0, openBytes = 0, bytesAfter = 0;
        await using var look = await index.LookAsync(volumeId, cancellation);
        await foreach (var row in LeftAsync(look, retention, cancellation))
        {
            var happened = row.Data();
            var ended = retention.Coalescer.Add(row.Number, row.Time, happened);
            openBytes += happened is WritesRecorded ? row.Bytes.Length : 0;
            bytesBefore += ended.Count > 0 && !retention.Coalescer.IsOpen ? openBytes : 0;
            bytesBefore += happened is HistoryCoalesced && ended.Any(r => r.Last == row.Number) ? row.Bytes.Length : 0;
            openBytes = retention.Coalescer.IsOpen ? openBytes : 0;
            bytesAfter += ended.Sum(r => (long)r.Bytes.Length);
            runs.AddRange(ended);
            if (retention.Coalescer.IsOpen)
                continue;
            retention.Cursor = new(row.Number, EventLsn.Last(happened), row.Time);
            if (runs.Count >= PassRunsMax || bytesAfter >= PassBytesMax || bytesBefore >= PassArchivedMax)
                break;
        }

        retention.Count(runs, bytesBefore);
        return runs;
    }

    /// <summary>What retention has not looked at yet. Behind what is forgotten, an earlier one has left nothing to do up to where it
    /// ended: of that stretch only commands are read.</summary>
    private static async IAsyncEnumerable<EventRow> LeftAsync(
        HistorySnapshot look, Retention retention, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var at = retention.Cursor.Event;
        foreach (var (through, isDone) in new[] { (retention.GoneEvent, false), (retention.DoneEvent, true), (retention.LastEvent, false) })
        {
            if (through <= at)
                continue;
            var rows = isDone ? look.CommandsAsync(at, through, cancellation) : look.EventsAsync(at, through, newestFirst: false, cancellation);
            at = through;
            await foreach (var row in rows)
            {
                // One that was coalesced over the end of a stretch.
                at = Math.Max(at, row.Number);
                yield return row;
            }
        }
    }

    /// <summary>What there is to be done to a history.</summary>
    private async Task<Retention> BeginAsync(VolumeState state, RetentionAges ages, CancellationToken cancellation)
    {
        var now = await points.LatestAsync(state, cancellation);
        var exact = await points.LastThroughAsync(state, RetentionAges.Before(now, ages.Exact), cancellation);
        var kept = await points.LastThroughAsync(state, RetentionAges.Before(now, ages.Coalesced), cancellation);
        var exactEvent = exact?.Event ?? 0;
        var keptEvent = Math.Max(kept?.Event ?? 0, state.Retained?.KeptFrom?.Event ?? 0);
        var all = (await streams.WithCheckpointsAsync([state], cancellation))[0];
        var goneEvent = RetentionLimits.OldestAsked(all, keptEvent);
        var (goneState, finest) = await FoldAsync(state, goneEvent, cancellation);
        return new(
            new(exactEvent, keptEvent, goneEvent, goneState, finest), state.Retained?.ExactFrom.Event ?? 0, exact,
            // The first event is where every history begins.
            kept is null or { Event: 1 } || keptEvent != kept.Value.Event ? state.Retained?.KeptFrom : kept);
    }

    /// <summary>Replaces the runs of a pass, and appends the event that says so.</summary>
    /// <returns>The state behind it.</returns>
    /// <exception cref="LedgerException">Somebody else retains the same history (<c>busy</c>).</exception>
    private async Task<(VolumeState State, DateTimeOffset Time)> ReplaceAsync(
        VolumeState planned, Retention retention, IReadOnlyList<CoalescedRun> runs, CommandOrigin origin,
        Func<VolumeState, DateTimeOffset, CommandRecord?> record, CancellationToken cancellation)
    {
        if (runs.Count > 0)
            await SeenAsync(planned.Id, runs[^1].Last, cancellation);
        using var _ = await lanes.TakeAsync([planned.Id], cancellation);
        // Before shipping: what is written later is not older.
        var clockTime = await TimeAsync(planned.Id, cancellation);
        await shipper.ShipAllAsync(planned.Id, cancellation);
        var state = await streams.LoadAsync(planned.Id, cancellation) is { Removed: false } there
            ? there
            : throw new LedgerException(ErrorCode.NotFound, $"Volume '{planned.Name}' not found");
        await streams.RequireAsync(state, origin, cancellation);
        if (state.Retained?.Event != planned.Retained?.Event)
            throw new LedgerException(ErrorCode.Busy, $"the history of volume '{state.Name}' is retained by another command", "try again");
        // A node may have been sealed meanwhile with writes in it that would be coalesced too coarsely for it.
        if (BitTransfer.Finest(state) < BitTransfer.Finest(planned))
            throw new LedgerException(ErrorCode.Busy, $"volume '{state.Name}' has got a finer bitmap meanwhile", "try again");
        var last = await points.LatestRecordedAsync(state, cancellation);
        var time = clockTime > last ? clockTime.Value : last;
        Guid? stream = runs.Count > 0 ? Guid.CreateVersion7() : null;
        // What an earlier retention did is not undone by where this one is.
        var exactFrom = state.Retained?.ExactFrom is { } before && before.Event > retention.Cursor.Event ? before : retention.Cursor;
        var retained = new HistoryRetained(
            exactFrom, retention.KeptFrom, stream, runs.Sum(r => (long)r.Replaced), runs.Count, runs.Sum(r => r.Span.Count), state.LastLsn);
        var after = state.Apply(retained, state.Event + 1, time);
        try
        {
            var earlier = await streams.AppendAsync(
                [new(state.Id, state.Event, [new(retained, time)])], origin, record(after, time), cancellation,
                session =>
                {
                    if (stream is { } id)
                        HistoryArchive.Replace(session, state.Id, id, runs);
                });
            // The same id at the same time: that one has done it.
            return earlier is null ? (after, time) : throw new LedgerException(ErrorCode.Busy, "the same command is carried out already", "ask again");
        }
        finally
        {
            shipper.Forget(state.Id);
        }
    }

    private async Task<IReadOnlyList<CommandAnswer>> ActAsync(
        string volume, RetentionAges ages, CommandOrigin origin, string fingerprint, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        // What an earlier one was cut off from.
        await archive.DeleteAllAsync(state.Id, cancellation);
        using var retention = await BeginAsync(state, ages, cancellation);
        CommandAnswer? answer = null;
        while (!retention.IsDone || answer is null)
        {
            // None is found only when there is nothing more to look at.
            var runs = retention.IsDone ? [] : await FindAsync(state.Id, retention, cancellation);
            if (runs.Count == 0 && state.Retained?.KeptFrom?.Event == retention.KeptFrom?.Event)
                return [await NothingAsync(state, ages, retention, origin, fingerprint, cancellation)];
            var (after, _) = await ReplaceAsync(
                state, retention, runs, origin,
                (then, time) =>
                {
                    answer = Answer(then, time, ages, retention);
                    return retention.IsDone ? CommandRecord.Of(origin, fingerprint, [answer]) : null;
                }, cancellation);
            state = after;
            origin = origin with { ExpectedEvent = null };
            await archive.DeleteAllAsync(state.Id, cancellation);
        }

        return [answer];
    }

    private async Task<CommandAnswer> NothingAsync(
        VolumeState state, RetentionAges ages, Retention retention, CommandOrigin origin, string fingerprint, CancellationToken cancellation)
    {
        var answer = Answer(state, await points.LatestRecordedAsync(state, cancellation), ages, retention);
        var record = CommandRecord.Of(origin, fingerprint, [answer]);
        if (record is not null && await streams.AppendAsync([], origin, record, cancellation) is { } first)
            return first.Repeat(fingerprint)[0];
        return answer;
    }

    private static CommandAnswer Answer(VolumeState state, DateTimeOffset time, RetentionAges ages, Retention retention) =>
        new(state.Name, state.Event, state.LastLsn, Timestamps.Show(time))
        {
            Retained = retention.Answer(ages.ExactText, ages.CoalescedText),
        };

    /// <summary>Waits until the daemon has passed an event: behind its mark no number is ever missed.</summary>
    private async Task SeenAsync(Guid volumeId, long number, CancellationToken cancellation)
    {
        var sequence = await archive.SequenceAsync(volumeId, number, cancellation);
        for (var started = clock.GetTimestamp(); ; await Task.Delay(_markPause, clock, cancellation))
        {
            var progress = await store.Advanced.AllProjectionProgress(token: cancellation);
            if (progress.Any(p => p.ShardName == MarkName && p.Sequence >= sequence))
                return;
            if (clock.GetElapsedTime(started) > _markPatience)
                throw new LedgerException(ErrorCode.Busy, "the projections have not seen the events yet that are to be coalesced", "try again");
        }
    }

    /// <summary>What the Agent's clock says for a volume; null when it does not say.</summary>
    private async Task<DateTimeOffset?> TimeAsync(Guid volumeId, CancellationToken cancellation)
    {
        if (!agent.IsConnected)
            return null;
        var volume = (await agent.StatusAsync(cancellation)).Volumes.FirstOrDefault(v => v.Id == volumeId);
        return volume is null ? null : Timestamps.FromMicroseconds(volume.TimeMicroseconds);
    }

    /// <summary>What a volume was behind an event, and how fine its bitmaps were along the whole of its history.</summary>
    private async Task<(VolumeState Then, FinestGranularities Finest)> FoldAsync(
        VolumeState now, long through, CancellationToken cancellation)
    {
        var state = new VolumeState { Id = now.Id };
        var then = state;
        var finest = new FinestGranularities();
        await using var look = await index.LookAsync(now.Id, cancellation);
        await foreach (var row in look.CommandsAsync(0, now.Event, cancellation))
        {
            state = state.Apply(row.Data(), row.Number, row.Time);
            finest.Add(state);
            then = row.Number <= through ? state : then;
        }

        return (then, finest);
    }
}
