using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Control;

/// <summary>What the contexts of all clients have in common: whom to ask about the past, and how many maps there may be.</summary>
/// <param name="bits">Where answers lie.</param>
/// <param name="log">Takes a line for people.</param>
public sealed class LedgerContexts(BitsFiles bits, Action<string> log)
{
    /// <summary>Most maps at once of all clients together: each may be as large as a bitmap of its volume.</summary>
    internal const int MapsMax = 256;

    private int _maps;

    /// <summary>Whom to ask; null before anybody could be.</summary>
    public ILedger? Ledger { get; set; }

    internal BitsFiles Bits => bits;

    internal Action<string> Log => log;

    /// <summary>The contexts of one client.</summary>
    /// <param name="peer">Names the client, for the log.</param>
    public IContextMaker For(string peer) => new ClientContexts(this, peer);

    /// <summary>Takes the place of a map; false when there is none.</summary>
    internal bool TryEnter()
    {
        if (Interlocked.Increment(ref _maps) <= MapsMax)
            return true;
        Leave();
        return false;
    }

    /// <summary>Gives it back.</summary>
    internal void Leave() => Interlocked.Decrement(ref _maps);
}
