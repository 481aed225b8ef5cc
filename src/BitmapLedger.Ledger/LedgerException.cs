using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Domain;

namespace BitmapLedger.Ledger;

/// <summary>A question or a command that cannot be answered.</summary>
/// <param name="code">One of <see cref="ErrorCode"/>.</param>
/// <param name="message">Names the thing, the value and the way out.</param>
/// <param name="hint">The way out, if the message does not say it.</param>
/// <param name="keptFrom">With <see cref="ErrorCode.HistoryGone"/>: where the kept history begins.</param>
public sealed class LedgerException(string code, string message, string? hint = null, string? keptFrom = null)
    : BitmapLedgerException(message)
{
    /// <summary>A refusal of the domain.</summary>
    public LedgerException(Refusal refusal)
        : this(refusal.Code, refusal.Message, refusal.Hint) => Refusal = refusal;

    /// <summary>The refusal, when it is one: decided, and no accident.</summary>
    public Refusal? Refusal { get; }

    /// <inheritdoc />
    public override string Code { get; } = code;

    /// <inheritdoc />
    public override bool IsTransient => Code == ErrorCode.Busy;

    /// <summary>The way out, if the message does not say it.</summary>
    public string? Hint { get; } = hint;

    /// <summary>Where the kept history begins, if that is the matter.</summary>
    public string? KeptFrom { get; } = keptFrom;
}
