using BitmapLedger.Contracts;
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

    /// <summary>What it answered, as JSON, when it was a command to no volume; else null.</summary>
    public string? Reply { get; init; }

    /// <summary>Why it did nothing.</summary>
    public Refusal? Refusal { get; init; }

    /// <summary>The record of a command that was done; null when it has no id.</summary>
    public static CommandRecord? Of(CommandOrigin origin, string fingerprint, IReadOnlyList<CommandAnswer> answers) =>
        origin.CommandId is { } id ? new() { Id = id, Fingerprint = fingerprint, Answers = answers } : null;

    /// <summary>The same answer again.</summary>
    /// <param name="fingerprint">What is commanded now.</param>
    /// <exception cref="LedgerException">It was refused then, or it was another command.</exception>
    public IReadOnlyList<CommandAnswer> Repeat(string fingerprint) => Known(fingerprint).Answers;

    /// <summary>This record, if it is of that command and was not refused.</summary>
    /// <param name="fingerprint">What is commanded now.</param>
    /// <exception cref="LedgerException">It was refused then, or it was another command.</exception>
    public CommandRecord Known(string fingerprint) => fingerprint != Fingerprint
        ? throw IsOfAnother(Id)
        : Refusal is { } refusal ? throw new LedgerException(refusal) : this;

    /// <summary>What is answered to an id that stands for another command already.</summary>
    /// <param name="id">The id.</param>
    public static LedgerException IsOfAnother(string id) => new(
        ErrorCode.BadArgument, $"Command id '{id}' was used for another command", "take a new id for a new command");
}
