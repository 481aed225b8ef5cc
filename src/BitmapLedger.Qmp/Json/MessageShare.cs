namespace BitmapLedger.Qmp.Json;

/// <summary>What one client holds of a <see cref="MessageBudget"/>. Taken from and given back to by one thread.</summary>
public sealed class MessageShare
{
    private readonly MessageBudget _budget;

    internal MessageShare(MessageBudget budget, Action onRevoked) => (_budget, OnRevoked) = (budget, onRevoked);

    /// <summary>Tells whoever holds it that it has gone to others; called outside the budget's lock.</summary>
    internal Action OnRevoked { get; }

    /// <summary>Bytes; guarded by the budget.</summary>
    internal long Held { get; set; }

    /// <summary>Whether all of it has gone to others.</summary>
    public bool IsRevoked { get; private set; }

    /// <summary>Whether it goes to nobody until all of it is given back; guarded by the budget.</summary>
    internal bool IsKept { get; set; }

    /// <summary>Takes some; false when there is not so much, and then nothing was taken.</summary>
    /// <param name="wanted">Bytes, before they are allocated.</param>
    public bool TryTake(long wanted) => _budget.TryTake(this, wanted);

    /// <summary>Gives back what was taken.</summary>
    /// <param name="taken">Bytes.</param>
    public void Give(long taken) => _budget.Give(this, taken);

    /// <summary>From now on it goes to nobody, until all of it is given back; false when it has gone.</summary>
    public bool TryKeep() => _budget.TryKeep(this);

    /// <summary>What is given to others; inside the budget's lock.</summary>
    internal long Revoke()
    {
        var held = Held;
        (Held, IsRevoked) = (0, true);
        return held;
    }
}
