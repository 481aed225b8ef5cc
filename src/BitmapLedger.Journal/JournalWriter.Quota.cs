namespace BitmapLedger.Journal;

public sealed partial class JournalWriter
{
    private long _shippedLsn;
    private long _waitingSince;

    /// <summary>When the ledger last said what it has, and the last LSN then: what came later is younger.</summary>
    private (long TimeMicroseconds, long Lsn) _lastSaid;

    /// <summary>How much of the quota is used, and by what. Not for the way of a write: it asks the clock.</summary>
    public JournalUse Use
    {
        get
        {
            lock (_lock)
            {
                var shipped = Math.Max(_shippedLsn, _chain.OldestLsn - 1);
                if (shipped >= _lastLsn)
                    _waitingSince = 0;
                else if (_waitingSince == 0)
                    _waitingSince = _clock.Next();
                return new(_chain.UsedBytes, _chain.QuotaBytes, _chain.IsFull, shipped, _waitingSince);
            }
        }
    }

    /// <summary>Another quota from now on. A smaller one frees nothing: it lets nothing more in until there is room.</summary>
    public void SetQuota(long bytes)
    {
        lock (_lock)
            _chain.SetQuota(bytes);
        _spaceFreed.Set();
    }

    /// <summary>The ledger has everything up to an LSN. The caller holds the lock.</summary>
    private void Shipped(long lsn)
    {
        if (lsn < _shippedLsn)
            return;
        _shippedLsn = lsn;
        // The next one is not older than its segment, nor, if the journal ended before it, than the last time.
        var since = _chain.SegmentTime(lsn + 1);
        if (lsn >= _lastSaid.Lsn)
            since = Math.Max(since, _lastSaid.TimeMicroseconds);
        _waitingSince = lsn >= _lastLsn ? 0 : Math.Max(_waitingSince, since);
        _lastSaid = (_clock.Next(), _lastLsn);
    }
}
