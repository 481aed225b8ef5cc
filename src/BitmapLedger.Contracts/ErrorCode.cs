namespace BitmapLedger.Contracts;

/// <summary>Codes of failures: stable, in kebab case, never reused.</summary>
public static class ErrorCode
{
    /// <summary>Something named is not there.</summary>
    public const string NotFound = "not-found";

    /// <summary>Something of that name is there already.</summary>
    public const string Exists = "exists";

    /// <summary>Try again: a lock, a database or a process is not there at the moment.</summary>
    public const string Busy = "busy";

    /// <summary>A value cannot be.</summary>
    public const string BadArgument = "bad-argument";

    /// <summary>A point that cannot be, or lies in the future.</summary>
    public const string BadPoint = "bad-point";

    /// <summary>A point before the kept history.</summary>
    public const string HistoryGone = "history-gone";

    /// <summary>Not built, or not on this platform.</summary>
    public const string Unsupported = "unsupported";

    /// <summary>Over TCP, without the token.</summary>
    public const string Unauthorized = "unauthorized";

    /// <summary>Bytes that were written whole are no longer what they were.</summary>
    public const string Damaged = "damaged";

    /// <summary>Anything else that did not work.</summary>
    public const string Failed = "failed";

    /// <summary>A bug of ours.</summary>
    public const string Bug = "bug";
}
