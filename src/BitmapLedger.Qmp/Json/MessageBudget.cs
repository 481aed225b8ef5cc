namespace BitmapLedger.Qmp.Json;

/// <summary>
/// What the messages of all clients together may hold in memory until they are answered, so that many clients that begin a
/// large message and never end it cannot take it all. A small message costs nothing here. When there is no room for more,
/// the share goes that has been held longest, of those that are larger than an equal share of all who hold one: whoever
/// dawdles makes room for whoever does not. Any number of threads.
/// </summary>
/// <param name="bytes">Most bytes.</param>
public sealed class MessageBudget(long bytes)
{
    /// <summary>Room for three messages of the size that QEMU allows at most.</summary>
    public const long BytesDefault = 256L << 20;

    private readonly Lock _lock = new();

    /// <summary>Those that hold something, the longest first.</summary>
    private readonly List<MessageShare> _holders = [];

    private readonly long _bytes = bytes;
    private long _left = bytes;

    /// <summary>Ends with the last turn that was asked for.</summary>
    private Task _turns = Task.CompletedTask;

    /// <summary>Bytes that nobody holds.</summary>
    public long Left
    {
        get
        {
            lock (_lock)
                return _left;
        }
    }

    /// <summary>A share of a client, which holds nothing yet.</summary>
    /// <param name="onRevoked">Told when all of it has gone to others: whoever holds it is to let it go.</param>
    public MessageShare Open(Action onRevoked) => new(this, onRevoked);

    /// <summary>Waits until no other large message is being answered: the values that are made of one take several times its bytes,
    /// so there is one of them at a time.</summary>
    /// <param name="cancellation">Ends the waiting.</param>
    /// <returns>Ends the turn when disposed.</returns>
    internal async Task<IDisposable> TurnAsync(CancellationToken cancellation)
    {
        var turn = new Turn();
        Task before;
        lock (_lock)
            (before, _turns) = (_turns, turn.Ended.Task);
        try
        {
            await before.WaitAsync(cancellation);
            return turn;
        }
        catch
        {
            _ = before.ContinueWith(_ => turn.Dispose(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            throw;
        }
    }

    internal bool TryTake(MessageShare share, long wanted)
    {
        List<MessageShare> revoked = [];
        try
        {
            lock (_lock)
            {
                while (!share.IsRevoked && _left < wanted && Dawdler(share) is { } dawdler)
                {
                    _left += dawdler.Revoke();
                    _holders.Remove(dawdler);
                    revoked.Add(dawdler);
                }

                if (share.IsRevoked || _left < wanted)
                    return false;
                if (share.Held == 0)
                    _holders.Add(share);
                share.Held += wanted;
                _left -= wanted;
                return true;
            }
        }
        finally
        {
            revoked.ForEach(r => r.OnRevoked());
        }
    }

    internal void Give(MessageShare share, long taken)
    {
        lock (_lock)
        {
            // What was revoked has been given back.
            if (share.IsRevoked)
                return;
            share.Held -= taken;
            _left += taken;
            if (share.Held > 0)
                return;
            share.IsKept = false;
            _holders.Remove(share);
        }
    }

    internal bool TryKeep(MessageShare share)
    {
        lock (_lock)
        {
            // Of nothing nothing would be given back.
            share.IsKept = share.Held > 0;
            return !share.IsRevoked;
        }
    }

    private MessageShare? Dawdler(MessageShare wanting)
    {
        var equal = _bytes / (_holders.Count + (wanting.Held == 0 ? 1 : 0));
        return _holders.Find(h => h != wanting && !h.IsKept && h.Held > equal);
    }

    private sealed class Turn : IDisposable
    {
        public TaskCompletionSource Ended { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public void Dispose() => Ended.TrySetResult();
    }
}
