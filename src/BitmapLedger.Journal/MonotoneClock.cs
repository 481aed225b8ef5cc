namespace BitmapLedger.Journal;

/// <summary>
/// Times of one volume: the wall clock, except that they never go back. While the wall clock lags behind what was
/// recorded, they advance by a microsecond. The caller holds the journal's lock.
/// </summary>
internal sealed class MonotoneClock(TimeProvider wall, long lastMicroseconds)
{
    private static readonly long _epochTicks = DateTimeOffset.UnixEpoch.UtcTicks;
    private long _last = lastMicroseconds;

    public long Last => _last;

    public long Next()
    {
        var now = (wall.GetUtcNow().UtcTicks - _epochTicks) / TimeSpan.TicksPerMicrosecond;
        return _last = now >= _last ? now : _last + 1;
    }
}
