using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>What is wanted of one volume.</summary>
/// <param name="VolumeId">The volume.</param>
/// <param name="Commands">In order; decided as one.</param>
public sealed record VolumeOrder(Guid VolumeId, IReadOnlyList<VolumeCommand> Commands);

/// <summary>Commands to one or several volumes: one decision, one instant each, one append. Sent inside their
/// lanes.</summary>
/// <param name="Orders">Each volume once.</param>
/// <param name="Origin">Who commands.</param>
/// <param name="Fingerprint">What is commanded, for telling a repetition from another command.</param>
public sealed record CarryOut(IReadOnlyList<VolumeOrder> Orders, CommandOrigin Origin, string Fingerprint);

/// <summary>What became of it.</summary>
/// <param name="Answers">One for each volume, when it was done.</param>
/// <param name="Refusal">Why nothing was done.</param>
public sealed record CommandOutcome(IReadOnlyList<CommandAnswer> Answers, Refusal? Refusal);
