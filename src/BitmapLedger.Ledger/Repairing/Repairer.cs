using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Repairing;

/// <summary>
/// Goes on behind a damaged stretch of a journal: what can be read is recorded write by write, the stretch itself becomes
/// a <see cref="TrackingLost"/> in which every block counts as written, and the volume opens with a new journal. Cut off
/// anywhere and asked again it goes on where it was: writes that the stream has are not appended twice.
/// </summary>
public sealed class Repairer(
    VolumeStreams streams, Lanes lanes, IAgent agent, Shipper shipper, Reconciler reconciler, Volumes volumes,
    LedgerSettings settings, TimeProvider clock)
{
    /// <summary>Repairs the journal of a volume; one that is whole stays as it is.</summary>
    /// <param name="name">The volume.</param>
    /// <param name="origin">Who commands.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume, the Agent is away, or the disk reads nothing at
    /// all.</exception>
    public async Task<RepairAnswer> RepairAsync(string name, CommandOrigin origin, CancellationToken cancellation)
    {
        var id = await streams.IdAsync(name, cancellation);
        using var _ = await lanes.TakeAsync([id], cancellation);
        // Somebody else may have been in the lane before.
        var state = await streams.FindAsync(name, cancellation);
        await streams.RequireAsync(state, origin, cancellation);
        try
        {
            return await RepairInLaneAsync(name, state, origin, cancellation);
        }
        catch (IOException refusal)
        {
            throw new LedgerException(
                ErrorCode.Failed, $"what of the journal of volume '{name}' is damaged cannot be told: {refusal.Message}",
                "when the disk is well, ask again");
        }
    }

    private async Task<RepairAnswer> RepairInLaneAsync(
        string name, VolumeState state, CommandOrigin origin, CancellationToken cancellation)
    {
        var id = state.Id;
        // First of all: a disk that reads nothing now may read all of it tomorrow.
        var isDamaged = IsDamaged(id);
        var welcome = await agent.StatusAsync(cancellation);
        var open = welcome.Volumes.Any(v => v.Id == id);
        if (open && !isDamaged)
            return new(name, Repaired: false, [], state.Event, state.LastLsn, SetAside: null);

        await agent.AskAsync(new CloseVolume(id, DeleteJournal: false), cancellation);
        shipper.Forget(id);
        IReadOnlyList<JournalStretch.Damaged> damage = [];
        if (IsDamaged(id))
            (state, damage) = await RecordAsync(state, origin, cancellation);
        if (damage.Count > 0)
            await agent.AskAsync(new SetJournalAside(id, volumes.Spec(state)), cancellation);

        await reconciler.MeetInLaneAsync(id, cancellation);
        return new(
            name, damage.Count > 0, [.. damage.Select(Show)], state.Event, state.LastLsn,
            damage.Count > 0 ? Aside(id) : null);
    }

    private bool IsDamaged(Guid id) =>
        new JournalSurvey(settings.Journal(id), id).Read().OfType<JournalStretch.Damaged>().Any();

    /// <summary>Records what can be read, and what is lost: of a disk that reads now more and now less, what it did this
    /// time.</summary>
    private async Task<(VolumeState State, IReadOnlyList<JournalStretch.Damaged> Damage)> RecordAsync(
        VolumeState state, CommandOrigin origin, CancellationToken cancellation)
    {
        var survey = new JournalSurvey(settings.Journal(state.Id), state.Id);
        List<JournalStretch.Damaged> damaged = [], all = [];
        foreach (var stretch in survey.Read())
        {
            if (stretch is JournalStretch.Damaged one)
            {
                damaged.Add(one);
                all.Add(one);
                continue;
            }

            // Times never go back within a volume: a gap is as old as the first write behind it.
            var writes = ((JournalStretch.Whole)stretch).Writes;
            state = await LoseAsync(damaged, state, TimeOf(writes.Span[0]), origin, cancellation);
            state = await LoseFreedAsync(survey.OldestLsn, state, TimeOf(writes.Span[0]), origin, cancellation);
            state = await AppendAsync(writes, survey.Names, state, cancellation);
        }

        return (await LoseAsync(damaged, state, clock.GetUtcNow(), origin, cancellation), all);
    }

    private async Task<VolumeState> LoseAsync(
        List<JournalStretch.Damaged> damaged, VolumeState state, DateTimeOffset time, CommandOrigin origin,
        CancellationToken cancellation)
    {
        foreach (var stretch in damaged)
        {
            var to = stretch.ToLsn ?? state.LastLsn;
            // A stretch that held no write, or whose writes the stream has, loses nothing.
            if (stretch.HoldsRecords && stretch.ToLsn is not null && (to <= state.LastLsn || to == stretch.AfterLsn))
                continue;
            to = Math.Max(to, state.LastLsn);
            var why = $"{stretch.File} is damaged at byte {stretch.FromByte}: {stretch.Fault}";
            state = await AppendAsync(
                new TrackingLost(state.LastLsn, to, why, to), state, time, origin, cancellation);
        }

        damaged.Clear();
        return state;
    }

    /// <summary>The journal has freed, or lost whole segments of, what the stream has not got.</summary>
    private async Task<VolumeState> LoseFreedAsync(
        long oldestLsn, VolumeState state, DateTimeOffset time, CommandOrigin origin, CancellationToken cancellation)
    {
        var to = oldestLsn - 1;
        if (to <= state.LastLsn)
            return state;
        const string why = "the oldest segments of the journal are gone, and the ledger lacks their writes";
        return await AppendAsync(new TrackingLost(state.LastLsn, to, why, to), state, time, origin, cancellation);
    }

    private async Task<VolumeState> AppendAsync(
        ReadOnlyMemory<SingleWrite> writes, IReadOnlyDictionary<int, string> names, VolumeState state,
        CancellationToken cancellation)
    {
        var known = 0;
        while (known < writes.Length && writes.Span[known].Lsn <= state.LastLsn)
            known++;
        if (known == writes.Length)
            return state;
        var block = WriteBlock.Of(writes.Span[known..], state.LastLsn + 1, names);
        return await AppendAsync(block, state, TimeOf(writes.Span[^1]), origin: null, cancellation);
    }

    private async Task<VolumeState> AppendAsync(
        IVolumeEvent happened, VolumeState state, DateTimeOffset time, CommandOrigin? origin,
        CancellationToken cancellation)
    {
        await streams.AppendAsync(
            [new(state.Id, state.Event, [new(happened, time)])], origin, record: null, cancellation);
        return state.Apply(happened, state.Event + 1, time);
    }

    private static DateTimeOffset TimeOf(in SingleWrite write) => Timestamps.FromMicroseconds(write.TimeMicroseconds);

    private string Aside(Guid id)
    {
        var journal = settings.Journal(id);
        return Directory.EnumerateDirectories(Path.GetDirectoryName(journal)!, $"{id:D}.damaged-*")
            .OrderBy(d => d.Length).ThenBy(d => d, StringComparer.Ordinal).Last();
    }

    private static RepairedGap Show(JournalStretch.Damaged damage) =>
        new(damage.File, damage.FromByte, damage.Fault, damage.AfterLsn, damage.ToLsn);
}
