namespace BitmapLedger.Hosting;

/// <summary>
/// How long to wait before a program that died is started again: 50 ms at first, twice as long after each death, at
/// most 10 s, and 50 ms again for one that had run for half a minute. One thread.
/// </summary>
/// <param name="clock">Measures how long it ran.</param>
public sealed class RestartBackoff(TimeProvider clock)
{
    /// <summary>Pause after the first death.</summary>
    public static readonly TimeSpan First = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest pause.</summary>
    public static readonly TimeSpan Most = TimeSpan.FromSeconds(10);

    /// <summary>Who ran this long is taken to be well again.</summary>
    public static readonly TimeSpan Calm = TimeSpan.FromSeconds(30);

    /// <summary>From this many deaths in a row on it is a crash loop.</summary>
    private const int LoopFrom = 3;

    private TimeSpan _pause = First;
    private long _startedAt = clock.GetTimestamp();

    /// <summary>Deaths in a row, none of them after a calm while.</summary>
    public int Deaths { get; private set; }

    /// <summary>Whether it dies again and again.</summary>
    public bool IsCrashLoop => Deaths >= LoopFrom;

    /// <summary>It was started, now.</summary>
    public void Started() => _startedAt = clock.GetTimestamp();

    /// <summary>It died.</summary>
    /// <returns>How long to wait before it is started again.</returns>
    public TimeSpan Died()
    {
        if (Deaths > 0 && clock.GetElapsedTime(_startedAt) >= Calm)
            Deaths = 0;
        _pause = Deaths == 0 ? First : TimeSpan.FromTicks(Math.Min(_pause.Ticks * 2, Most.Ticks));
        Deaths++;
        return _pause;
    }
}
