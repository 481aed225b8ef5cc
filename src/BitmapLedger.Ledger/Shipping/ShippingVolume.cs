using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Journal;

namespace BitmapLedger.Ledger.Shipping;

/// <summary>Where shipping of a volume stands. Used inside the volume's lane only.</summary>
internal sealed class ShippingVolume(string journal, Guid id, long lastEvent, long lastLsn) : IDisposable
{
    /// <summary>Writes of the largest block; larger ones gain nothing (reference: 8 to 16 thousand).</summary>
    public const int BlockMax = 16_384;

    private readonly SingleWrite[] _writes = new SingleWrite[BlockMax];
    private bool _damaged;

    public JournalReader Reader { get; } = new(journal, id);

    public long LastEvent { get; set; } = lastEvent;

    public long LastLsn { get; set; } = lastLsn;

    /// <summary>Writes read from the journal and not shipped yet.</summary>
    public int Waiting { get; private set; }

    public ReadOnlySpan<SingleWrite> Writes => _writes.AsSpan(0, Waiting);

    /// <summary>Reads on; what waits already stays.</summary>
    public void Fill()
    {
        var after = Waiting > 0 ? _writes[Waiting - 1].Lsn : LastLsn;
        Waiting += Reader.Read(after, _writes.AsSpan(Waiting));
    }

    /// <summary>Reads on unless the journal is known to be damaged.</summary>
    /// <returns>False when it is: whoever ships by the clock need not read the same damage twenty times a
    /// second.</returns>
    /// <exception cref="CorruptionException">It has just been found to be damaged.</exception>
    public bool TryFill()
    {
        if (_damaged)
            return false;
        try
        {
            Fill();
            return true;
        }
        catch (CorruptionException)
        {
            _damaged = true;
            throw;
        }
    }

    /// <summary>The first <paramref name="count"/> are shipped.</summary>
    public void Drop(int count)
    {
        _writes.AsSpan(count, Waiting - count).CopyTo(_writes);
        Waiting -= count;
    }

    public void Dispose() => Reader.Dispose();
}
