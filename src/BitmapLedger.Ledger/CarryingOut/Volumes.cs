using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Wolverine;

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
/// <param name="commands">Carries the removal out.</param>
/// <param name="settings">Where files go.</param>
public sealed class Volumes(
    VolumeStreams streams, Lanes lanes, IAgent agent, Shipper shipper, Commands commands, LedgerSettings settings)
{
    /// <summary>Names are given out one at a time.</summary>
    private static readonly Guid _namesLane = Guid.Empty;

    /// <summary>Creates a volume on a new file, or on what is there already.</summary>
    /// <exception cref="LedgerException">It was refused; nothing changed.</exception>
    public async Task<CommandAnswer> CreateAsync(
        CreateVolumeRequest request, CommandOrigin origin, CancellationToken cancellation)
    {
        var id = Guid.CreateVersion7();
        using var _ = await lanes.TakeAsync([_namesLane, id], cancellation);
        var name = request.Name ?? "";
        if (origin.CommandId is { } commandId && await streams.RecordAsync(commandId, cancellation) is { } earlier)
            return Repeat(earlier, request);
        if (Domain.Volumes.Names.RefuseVolume(name) is { } refusal)
            throw new LedgerException(refusal);
        if ((await streams.AllAsync(cancellation)).Any(v => v.Name == name))
            throw new LedgerException(
                ErrorCode.Exists, $"Volume '{name}' already exists", "take another name, or remove it first");

        var plan = VolumePlan.Of(request, settings);
        var made = plan.MakeFile();
        try
        {
            var created = plan.Event(name);
            await agent.AskAsync(new OpenVolume(Spec(new VolumeState { Id = id }.Apply(created, 1, default))), cancellation);
            var status = (await agent.StatusAsync(cancellation)).Volumes.Single(v => v.Id == id);
            var time = Timestamps.FromMicroseconds(status.TimeMicroseconds);
            var answer = new CommandAnswer(name, 1, 0, Timestamps.Show(time));
            await streams.AppendAsync(
                [new(id, 0, [new(created, time)])], origin, Record(origin, request, answer), cancellation);
            await agent.AskAsync(new PublishVolume(id), cancellation);
            await SettleEmptyAsync(id, cancellation);
            return answer;
        }
        catch
        {
            await UndoAsync(id, made ? plan.File : null);
            throw;
        }
    }

    /// <summary>Takes a volume out of watch; its history stays, and so does its data.</summary>
    public async Task<CommandAnswer> RemoveAsync(
        IMessageBus bus, string name, CommandOrigin origin, CancellationToken cancellation)
    {
        var state = await streams.FindAsync(name, cancellation);
        // What is written between the event and the end of the export is still shipped, behind the event.
        var answers = await commands.CarryOutAsync(bus, [name], new VolumeCommand.RemoveVolume(), origin, cancellation);
        using (await lanes.TakeAsync([state.Id], cancellation))
        {
            await agent.AskAsync(new CloseVolume(state.Id, DeleteJournal: false), cancellation);
            await shipper.ShipAllAsync(state.Id, cancellation);
            shipper.Forget(state.Id);
            await agent.AskAsync(new CloseVolume(state.Id, DeleteJournal: true), cancellation);
        }

        return answers[0];
    }

    /// <summary>What the Agent is told of a volume.</summary>
    public VolumeSpec Spec(VolumeState state) => new(
        state.Id, state.Name, state.File, state.Size, state.ReadOnly, state.Durability, state.WhenFull, settings.JournalQuotaBytes,
        state.LastLsn);

    private async Task SettleEmptyAsync(Guid id, CancellationToken cancellation)
    {
        var fences = await agent.RotateAsync([new(id, Bitmaps.Granularity.Default.Bytes)], cancellation);
        await agent.AskAsync(new Settle(id, fences[0].Number, []), cancellation);
    }

    private async Task UndoAsync(Guid id, string? madeFile)
    {
        // The append may have happened although it failed here: what the ledger has, reconciliation brings back.
        if (agent.IsConnected && await streams.LoadAsync(id, CancellationToken.None) is null)
        {
            await agent.AskAsync(new CloseVolume(id, DeleteJournal: true), CancellationToken.None);
            if (madeFile is not null)
                File.Delete(madeFile);
        }
    }

    private static CommandRecord? Record(CommandOrigin origin, CreateVolumeRequest request, CommandAnswer answer) =>
        origin.CommandId is { } id ? new() { Id = id, Fingerprint = request.ToString(), Answers = [answer] } : null;

    private static CommandAnswer Repeat(CommandRecord earlier, CreateVolumeRequest request) =>
        earlier.RefuseOther(request.ToString()) is { } refusal ? throw new LedgerException(refusal) : earlier.Answers[0];
}
