namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>Puts down now and then what a rebuild has made, so that one that is cut off goes on from there. One thread.</summary>
/// <param name="work">Puts it down.</param>
/// <param name="clock">Measures.</param>
internal sealed class PutDown(Func<Task> work, TimeProvider clock)
{
    private static readonly TimeSpan _pauseLeast = TimeSpan.FromSeconds(2);

    /// <summary>A pause is this many times as long as the work: it takes a small part of the rebuild, however large the bits
    /// are.</summary>
    private const int PauseFactor = 20;

    private long _since = clock.GetTimestamp();
    private TimeSpan _pause = _pauseLeast;

    /// <summary>Whether the pause since the last time is over.</summary>
    public bool IsDue => clock.GetElapsedTime(_since) >= _pause;

    /// <summary>Puts it down.</summary>
    public async Task NowAsync()
    {
        var begun = clock.GetTimestamp();
        await work();
        _since = clock.GetTimestamp();
        var longer = PauseFactor * clock.GetElapsedTime(begun, _since);
        _pause = longer > _pauseLeast ? longer : _pauseLeast;
    }
}
