namespace BitmapLedger.Contracts;

/// <summary>Exit codes of <c>bml</c>, spec/cli.md.</summary>
public static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>Failed.</summary>
    public const int Failed = 1;

    /// <summary>The answer is "no".</summary>
    public const int No = 2;

    /// <summary>Inexact or with gaps, and <c>--strict</c> was given.</summary>
    public const int Inexact = 3;

    /// <summary>Not found.</summary>
    public const int NotFound = 10;

    /// <summary>Busy, or the server is not reachable.</summary>
    public const int Busy = 11;

    /// <summary>Damaged data.</summary>
    public const int Damaged = 12;

    /// <summary>History gone.</summary>
    public const int HistoryGone = 13;

    /// <summary>A QMP client said <c>quit</c>: how the server tells <c>bml serve</c> that everything is to end.</summary>
    public const int Quit = 20;

    /// <summary>Usage.</summary>
    public const int Usage = 64;

    /// <summary>A bug.</summary>
    public const int Bug = 70;

    /// <summary>Interrupted.</summary>
    public const int Interrupted = 130;

    /// <summary>The exit code of a failure.</summary>
    public static int Of(string code) => code switch
    {
        ErrorCode.NotFound => NotFound,
        ErrorCode.Busy => Busy,
        ErrorCode.Damaged => Damaged,
        ErrorCode.HistoryGone => HistoryGone,
        ErrorCode.BadArgument or ErrorCode.BadPoint => Usage,
        ErrorCode.Bug => Bug,
        _ => Failed,
    };
}
