using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>Commands to one or several volumes: one decision, one instant each, one append. Sent inside their
/// lanes.</summary>
/// <param name="Actions">In order; decided as one.</param>
/// <param name="VolumeIds">Every volume that is commanded, then every one that is only merged from; each once.</param>
/// <param name="Origin">Who commands.</param>
/// <param name="Fingerprint">What is commanded, for telling a repetition from another command.</param>
/// <param name="Agent">What the Agent says inside the lanes: exports that begin to show a bitmap wait for them, too.</param>
public sealed record CarryOut(
    IReadOnlyList<VolumeAction> Actions, IReadOnlyList<Guid> VolumeIds, CommandOrigin Origin, string Fingerprint, Welcome Agent)
{
    /// <summary>Whether a volume is commanded, and not only merged from.</summary>
    public bool Commands(Guid volumeId) => Actions.Any(a => a.Volume == volumeId && a.Command is not VolumeCommand.Abort);

    /// <summary>The checkpoints of a volume that are named.</summary>
    public IEnumerable<string> Checkpoints(Guid volumeId) => Actions.Where(a => a.Volume == volumeId)
        .Select(a => a.Command switch
        {
            VolumeCommand.CreateCheckpoint create => create.Name,
            VolumeCommand.DeleteCheckpoint delete => delete.Name,
            _ => null,
        }).OfType<string>();
}

/// <summary>What became of it.</summary>
/// <param name="Answers">One for each volume that was commanded, when it was done.</param>
/// <param name="Refusal">Why nothing was done.</param>
public sealed record CommandOutcome(IReadOnlyList<CommandAnswer> Answers, Refusal? Refusal);
