using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Marten;
using Microsoft.Extensions.Logging;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>The run of the Agent that transient bitmaps belong to.</summary>
public sealed record AgentRun
{
    /// <summary>There is one.</summary>
    public const string OnlyId = "agent";

    /// <summary><see cref="OnlyId"/>.</summary>
    public string Id { get; init; } = OnlyId;

    /// <summary>Id of the run.</summary>
    public Guid Run { get; init; }
}

/// <summary>
/// Brings Agent and ledger together whenever they meet: volumes that one lacks, writes that wait in journals, losses,
/// transient bitmaps that ended, and the bits of every bitmap.
/// </summary>
public sealed partial class Reconciler(
    VolumeStreams streams, Lanes lanes, IAgent agent, Shipper shipper, Volumes volumes, EventReader reader,
    LedgerSettings settings, IDocumentStore store, ILogger<Reconciler> log)
{
    private static readonly CommandOrigin _self = new("bitmapledger", "server", CommandId: null);

    /// <summary>Volumes that were not met and may be by waiting, and whether the Agent's run is new to them.</summary>
    private readonly Dictionary<Guid, (string Name, bool NewRun, string Why)> _away = [];

    /// <summary>Meets an Agent.</summary>
    /// <param name="welcome">What it said.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Whether a volume stayed away that may come by waiting: its disk is full, its image in use.</returns>
    public async Task<bool> MeetAsync(Welcome welcome, CancellationToken cancellation)
    {
        _away.Clear();
        var known = await streams.AllAsync(cancellation);
        shipper.WatchOnly(known.Select(k => k.Id));
        await FinishRemovalsAsync(known, cancellation);
        foreach (var stray in welcome.Volumes.Where(v => known.All(k => k.Id != v.Id)))
            await agent.AskAsync(new CloseVolume(stray.Id, DeleteJournal: false), cancellation);

        var newRun = await IsNewRunAsync(welcome.Run, cancellation);
        foreach (var state in known)
            if (await TryMeetAsync(state.Id, state.Name, newRun, cancellation) is { } failure && !IsDamage(failure))
                _away[state.Id] = (state.Name, newRun, failure.Message);
        await RememberRunAsync(welcome.Run, cancellation);
        return _away.Count > 0;
    }

    /// <summary>Tries those again that stayed away.</summary>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Whether some still do.</returns>
    public async Task<bool> MeetAwayAsync(CancellationToken cancellation)
    {
        foreach (var (id, (name, newRun, why)) in _away.ToList())
        {
            // Not one that was removed meanwhile.
            var failure = shipper.Watched.Contains(id) ? await TryMeetAsync(id, name, newRun, cancellation, why) : null;
            if (failure is null || IsDamage(failure))
                _away.Remove(id);
            else
                _away[id] = (name, newRun, failure.Message);
        }

        return _away.Count > 0;
    }

    /// <summary>Meets over one volume; why that failed is said unless it was said before. The other volumes are served all
    /// the same.</summary>
    private async Task<Exception?> TryMeetAsync(
        Guid id, string name, bool newRun, CancellationToken cancellation, string? said = null)
    {
        try
        {
            await MeetAsync(id, newRun, cancellation);
            return null;
        }
        // The disk under a journal is that volume's alone, too.
        catch (Exception failure) when (
            failure is BitmapLedgerException { IsTransient: false } or IOException or UnauthorizedAccessException)
        {
            if (failure.Message != said)
                VolumeStaysAway(name, failure.Message);
            return failure;
        }
    }

    private static bool IsDamage(Exception failure) => failure is BitmapLedgerException { Code: ErrorCode.Damaged };

    /// <summary>A server that ended between the last event of a volume and the end of its journal left that to
    /// us.</summary>
    private async Task FinishRemovalsAsync(IReadOnlyList<VolumeState> known, CancellationToken cancellation)
    {
        if (!Directory.Exists(settings.Journals))
            return;
        var names = new DirectoryInfo(settings.Journals).EnumerateDirectories().Select(d => d.Name);
        Guid[] others = [.. names.Select(n => Guid.TryParse(n, out var id) ? id : default).Except(known.Select(k => k.Id))];
        foreach (var id in await streams.RemovedAsync(others, cancellation))
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: true), cancellation);
    }

    /// <summary>Meets an Agent over one volume that it has closed; the caller is in the lane.</summary>
    /// <param name="id">The volume.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public Task MeetInLaneAsync(Guid id, CancellationToken cancellation) =>
        MeetInLaneAsync(id, newRun: false, cancellation);

    private async Task MeetAsync(Guid id, bool newRun, CancellationToken cancellation)
    {
        using var _ = await lanes.TakeAsync([id], cancellation);
        await MeetInLaneAsync(id, newRun, cancellation);
    }

    private async Task MeetInLaneAsync(Guid id, bool newRun, CancellationToken cancellation)
    {
        shipper.Forget(id);
        await GrowAsync(id, cancellation);
        await TellLossesAsync(id, cancellation);
        await shipper.ShipAllAsync(id, cancellation);
        var state = (await streams.LoadAsync(id, cancellation))!;
        // Asked after shipping: a client that wrote meanwhile has not put the ledger ahead of the journal.
        var welcome = await agent.StatusAsync(cancellation);
        var status = welcome.Volumes.FirstOrDefault(v => v.Id == id);
        var behind = status is not null && status.LastLsn < state.LastLsn;
        if (behind)
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: false), cancellation);
        if (behind || status is not { Published: true })
        {
            await agent.AskAsync(new OpenVolume(volumes.Spec(state)), cancellation);
            await agent.AskAsync(new PublishVolume(id), cancellation);
            status = (await agent.StatusAsync(cancellation)).Volumes.Single(v => v.Id == id);
        }

        // What was decided while the Agent ran without us: it knows neither the quota of this start nor what is shipped.
        await agent.AskAsync(new SetQuota(id, settings.JournalQuotaBytes), cancellation);
        await agent.AskAsync(new Release(id, state.LastLsn), cancellation);
        List<VolumeCommand> commands = [];
        commands.AddRange(LossesOf(status));
        if (behind)
            commands.Add(new VolumeCommand.LoseTracking(ToLsn: null, "the journal lost writes that the ledger has"));
        if (status.OldestLsn > state.LastLsn + 1)
            commands.Add(new VolumeCommand.LoseTracking(
                status.OldestLsn - 1, "the ledger lacks writes that the journal has already freed"));
        commands.Add(new VolumeCommand.EndTransientBitmaps(welcome.Run, JobsToo: newRun));
        if (status.Size < state.Size)
            commands.Insert(0, new VolumeCommand.ResizeVolume(status.Size));
        state = await DecideAsync(state, commands, status.TimeMicroseconds, cancellation);
        if (IsLossy(status))
            await agent.AskAsync(new AcknowledgeLoss(id), cancellation);
        await HandOverAsync(state, cancellation);
    }

    /// <summary>
    /// A server that ended between the Agent's resize and the event of it left that to us. A larger size stands before the
    /// writes that came after it, which may lie behind the old end; a smaller one behind them, since they all lie before the
    /// new one.
    /// </summary>
    private async Task GrowAsync(Guid id, CancellationToken cancellation)
    {
        var state = (await streams.LoadAsync(id, cancellation))!;
        if ((await agent.StatusAsync(cancellation)).Volumes.FirstOrDefault(v => v.Id == id) is { } status && status.Size > state.Size)
            await DecideAsync(state, [new VolumeCommand.ResizeVolume(status.Size)], status.TimeMicroseconds, cancellation);
    }

    /// <summary>An Agent that ran without us after a loss has writes behind it: it is recorded where it happened, before those, since a
    /// range may end among them. What happened between the first and the last loss is told at both.</summary>
    private async Task TellLossesAsync(Guid id, CancellationToken cancellation)
    {
        if ((await agent.StatusAsync(cancellation)).Volumes.FirstOrDefault(v => v.Id == id) is not { Losses.Count: > 0 } status || !IsLossy(status))
            return;
        foreach (var loss in status.Losses)
        {
            await shipper.ShipThroughAsync(id, loss.Lsn, cancellation);
            var state = (await streams.LoadAsync(id, cancellation))!;
            // The ledger had more of it before a server was killed here: then it stands behind that.
            await DecideAsync(
                state, LossesOf(status), state.LastLsn > loss.Lsn ? status.TimeMicroseconds : loss.TimeMicroseconds, cancellation);
        }

        await agent.AskAsync(new AcknowledgeLoss(id), cancellation);
    }

    private static bool IsLossy(VolumeStatus status) => status.Lost is not null || status.Recovered.Count > 0;

    private static List<VolumeCommand> LossesOf(VolumeStatus status)
    {
        List<VolumeCommand> losses = status.Lost is { } why ? [new VolumeCommand.LoseTracking(ToLsn: null, why)] : [];
        if (status.Recovered.Count > 0)
            losses.Add(new VolumeCommand.RecoverWrites([.. status.Recovered.Select(e => new RecoveredStretch(e.Offset, e.Length))]));
        return losses;
    }

    private async Task<VolumeState> DecideAsync(
        VolumeState state, List<VolumeCommand> commands, long timeMicroseconds, CancellationToken cancellation)
    {
        var time = Timestamps.FromMicroseconds(timeMicroseconds);
        var decision = VolumeDecider.Decide(commands, state, state.LastLsn, time);
        if (decision.Events.Count == 0)
            return state;
        try
        {
            _ = await streams.AppendAsync(
                [new(state.Id, state.Event, [.. decision.Events.Select(
                    e => new TimedEvent(e, time))])], _self, record: null, cancellation);
        }
        finally
        {
            // Also where it failed: it may stand in the stream all the same.
            shipper.Forget(state.Id);
        }

        return decision.After;
    }

    /// <summary>Gives the Agent the bits of every bitmap at a fence; until then it offers none of them.</summary>
    private async Task HandOverAsync(VolumeState state, CancellationToken cancellation)
    {
        var fences = await agent.RotateAsync([new(state.Id, BitTransfer.Finest(state).Bytes)], cancellation);
        await shipper.ShipThroughAsync(state.Id, fences[0].Lsn, cancellation);
        List<BitmapSource> sources = [];
        if (state.Bitmaps.Count > 0)
        {
            using var replay = await reader.ReplayAsync(
                state.Id, new Position(long.MaxValue, fences[0].Lsn, default), cancellation);
            foreach (var bitmap in replay.State.Bitmaps)
            {
                var file = Settlements.PutDown(replay.Bits(bitmap.Name), settings.BitsDirectory);
                sources.Add(new(bitmap.Name, bitmap.Granularity, bitmap.Recording, [], file));
            }
        }

        await agent.AskAsync(new Settle(state.Id, fences[0].Number, sources), cancellation);
    }

    private async Task<bool> IsNewRunAsync(Guid run, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var last = await session.LoadAsync<AgentRun>(AgentRun.OnlyId, cancellation);
        return last?.Run != run;
    }

    private async Task RememberRunAsync(Guid run, CancellationToken cancellation)
    {
        await using var session = store.LightweightSession();
        session.Store(new AgentRun { Run = run });
        await session.SaveChangesAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "volume {Volume} is not served: {Reason}")]
    private partial void VolumeStaysAway(string volume, string reason);
}
