using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Storing;

/// <summary>
/// What a command with an id came to, written in the transaction of its events: the same id again is not run again and
/// gets the same answer, refusals too.
/// </summary>
public sealed record CommandRecord
{
    /// <summary>The command id.</summary>
    public string Id { get; init; } = "";

    /// <summary>What was commanded; the same id with something else is an error.</summary>
    public string Fingerprint { get; init; } = "";

    /// <summary>What it did.</summary>
    public IReadOnlyList<CommandAnswer> Answers { get; init; } = [];

    /// <summary>Why it did nothing.</summary>
    public Refusal? Refusal { get; init; }

    /// <summary>The refusal of another command under the same id; null when it is the same command again.</summary>
    public Refusal? RefuseOther(string fingerprint) => fingerprint == Fingerprint
        ? null
        : Domain.Refusal.BadArgument(
            $"Command id '{Id}' was used for another command", "take a new id for a new command");
}
