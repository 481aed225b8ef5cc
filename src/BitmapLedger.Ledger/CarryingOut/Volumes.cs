using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>
/// Brings volumes under watch and out of it. The Agent opens a volume before the ledger knows it and offers it
/// after, so
/// that a crash between leaves nothing that is written to and not recorded.
/// </summary>
/// <param name="streams">Appends.</param>
/// <param name="lanes">The lanes.</param>
/// <param name="agent">Opens and closes.</param>
/// <param name="shipper">Ships the last writes.</param>
/// <param name="reader">Reads the last event.</param>
/// <param name="once">Knows what was commanded before.</param>
/// <param name="settings">Where files go.</param>
public sealed class Volumes(
    VolumeStreams streams, Lanes lanes, IAgent agent, Shipper shipper, EventReader reader, OnceOnly once, LedgerSettings settings)
{
    /// <summary>Names are given out one at a time.</summary>
    private static readonly Guid _namesLane = Guid.Empty;

    /// <summary>Creates a volume on a new file, or on what is there already.</summary>
    /// <exception cref="LedgerException">It was refused; nothing changed.</exception>
    public async Task<CommandAnswer> CreateAsync(
        CreateVolumeRequest request, CommandOrigin origin, CancellationToken cancellation) =>
        (await once.ActAsync(origin, request.ToString(), () => TryCreateAsync(request, origin, cancellation), cancellation))[0];

    /// <summary>
    /// Takes a volume out of watch; its history stays, and so does its data. The export ends first, so that the last write
    /// stands before the last event.
    /// </summary>
    public async Task<CommandAnswer> RemoveAsync(string name, CommandOrigin origin, CancellationToken cancellation)
    {
        var fingerprint = $"remove {name}";
        return (await once.ActAsync(origin, fingerprint, async () =>
        {
            var id = await streams.IdAsync(name, cancellation);
            using var _ = await lanes.TakeAsync([_namesLane, id], cancellation);
            if (origin.CommandId is { } commandId && await streams.RecordAsync(commandId, cancellation) is { } earlier)
                return earlier.Repeat(fingerprint);
            if (await streams.LoadAsync(id, cancellation) is not { Removed: false } state)
                throw new LedgerException(ErrorCode.NotFound, $"Volume '{name}' not found");
            await streams.RequireAsync(state, origin, cancellation);
            var exports = await agent.ExportsAsync(cancellation);
            if (exports.Offers(id) || exports.Shown(id).Any())
                throw new LedgerException(
                    ErrorCode.Busy, $"Volume '{name}' is in use by a block export", "end it with block-export-del of QMP first");
            return await CloseAsync(id, fingerprint, origin, cancellation);
        }, cancellation))[0];
    }

    /// <summary>What the Agent is told of a volume.</summary>
    public VolumeSpec Spec(VolumeState state) => new(
        state.Id, state.Name, state.File, state.Size, state.ReadOnly, state.Durability, state.WhenFull, settings.JournalQuotaBytes,
        state.LastLsn);

    private async Task<IReadOnlyList<CommandAnswer>> TryCreateAsync(
        CreateVolumeRequest request, CommandOrigin origin, CancellationToken cancellation)
    {
        var id = Guid.CreateVersion7();
        using var _ = await lanes.TakeAsync([_namesLane, id], cancellation);
        var name = request.Name ?? "";
        if (origin.CommandId is { } commandId && await streams.RecordAsync(commandId, cancellation) is { } earlier)
            return earlier.Repeat(request.ToString());
        if (Domain.Volumes.Names.RefuseVolume(name) is { } refusal)
            throw new LedgerException(refusal);
        if ((await streams.AllAsync(cancellation)).Any(v => v.Name == name))
            throw new LedgerException(
                ErrorCode.Exists, $"Volume '{name}' already exists", "take another name, or remove it first");

        await streams.RequireAsync(new() { Name = name }, origin, cancellation);
        var plan = VolumePlan.Of(request, settings);
        var made = plan.MakeFile();
        var created = plan.Event(name);
        var status = await OpenAsync(id, created, made ? plan.File : null, cancellation);
        var time = Timestamps.FromMicroseconds(status.TimeMicroseconds);
        CommandAnswer[] answers = [new(name, 1, 0, Timestamps.Show(time))];
        var first = await AppendAsync(
            new(id, 0, [new(created, time)]), origin, CommandRecord.Of(origin, request.ToString(), answers), cancellation);
        if (first is not null)
        {
            await UndoAsync(id, made ? plan.File : null);
            return first.Repeat(request.ToString());
        }

        await OfferAsync(id);
        return answers;
    }

    private async Task<VolumeStatus> OpenAsync(
        Guid id, VolumeCreated created, string? madeFile, CancellationToken cancellation)
    {
        try
        {
            await agent.AskAsync(new OpenVolume(Spec(new VolumeState { Id = id }.Apply(created, 1, default))), cancellation);
            return (await agent.StatusAsync(cancellation)).Volumes.Single(v => v.Id == id);
        }
        catch
        {
            await UndoAsync(id, madeFile);
            throw;
        }
    }

    private async Task<CommandRecord?> AppendAsync(
        StreamAppend append, CommandOrigin origin, CommandRecord? record, CancellationToken cancellation)
    {
        try
        {
            return await streams.AppendAsync([append], origin, record, cancellation);
        }
        catch
        {
            // It may stand in the ledger all the same, so nothing is taken back here: the meeting offers what the ledger
            // has, and closes what it has not.
            agent.MeetAgain();
            throw;
        }
        finally
        {
            shipper.Forget(append.VolumeId);
        }
    }

    /// <summary>What the ledger has is offered, now or when the Agent is met again.</summary>
    private async Task OfferAsync(Guid id)
    {
        shipper.Watch(id);
        try
        {
            await agent.AskAsync(new PublishVolume(id), CancellationToken.None);
            var fences = await agent.RotateAsync([new(id, Bitmaps.Granularity.Default.Bytes)], CancellationToken.None);
            await agent.AskAsync(new Settle(id, fences[0].Number, []), CancellationToken.None);
        }
        catch (LedgerException)
        {
            agent.MeetAgain();
        }
    }

    private async Task<IReadOnlyList<CommandAnswer>> CloseAsync(
        Guid id, string fingerprint, CommandOrigin origin, CancellationToken cancellation)
    {
        var closedAt = Timestamps.FromMicroseconds(
            (await agent.StatusAsync(cancellation)).Volumes.FirstOrDefault(v => v.Id == id)?.TimeMicroseconds ?? 0);
        VolumeState state;
        DateTimeOffset time;
        try
        {
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: false), cancellation);
            await shipper.ShipAllAsync(id, cancellation);
            state = (await streams.LoadAsync(id, cancellation))!;
            var last = (await reader.AtOrAfterAsync(id, state.Event, cancellation))!.Timestamp;
            time = last > closedAt ? last : closedAt;
        }
        catch
        {
            agent.MeetAgain();
            throw;
        }

        var decision = VolumeDecider.Decide([new VolumeCommand.RemoveVolume()], state, state.LastLsn, time);
        CommandAnswer[] answers = [new(state.Name, decision.After.Event, state.LastLsn, Timestamps.Show(time))];
        var first = await AppendAsync(
            new(id, state.Event, [.. decision.Events.Select(e => new TimedEvent(e, time))]), origin,
            CommandRecord.Of(origin, fingerprint, answers), cancellation);
        if (first is not null)
        {
            agent.MeetAgain();
            return first.Repeat(fingerprint);
        }

        shipper.Unwatch(id);
        try
        {
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: true), CancellationToken.None);
        }
        catch (LedgerException)
        {
            agent.MeetAgain();
        }

        return answers;
    }

    private async Task UndoAsync(Guid id, string? madeFile)
    {
        if (agent.IsConnected)
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: true), CancellationToken.None);
        if (madeFile is not null)
            File.Delete(madeFile);
    }
}
