namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>How often the daemon is woken: <see cref="BurstMax"/> times at once, and from then on once in every
/// <see cref="Interval"/>. One caller at a time.</summary>
public sealed class WakePace
{
    /// <summary>Appends that come no faster than this wake at once, each of them.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    /// <summary>What somebody does by hand, or a few commands in a row, is projected without a pause.</summary>
    public const int BurstMax = 4;

    private TimeSpan _paidUntil;

    /// <summary>Takes the next turn.</summary>
    /// <param name="now">Time since any beginning.</param>
    /// <returns>How long to wait for it.</returns>
    public TimeSpan Next(TimeSpan now)
    {
        var earliest = _paidUntil - (Interval * (BurstMax - 1));
        var at = now > earliest ? now : earliest;
        _paidUntil = (_paidUntil > at ? _paidUntil : at) + Interval;
        return at - now;
    }
}
