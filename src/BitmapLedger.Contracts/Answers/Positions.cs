namespace BitmapLedger.Contracts.Answers;

/// <summary>What was asked and what was used.</summary>
/// <param name="Asked">The point as it was written.</param>
/// <param name="Event">The last event that is in, wholly or in part.</param>
/// <param name="Lsn">LSN of the last write that is in; 0 when none.</param>
/// <param name="Time">When, RFC 3339.</param>
public sealed record PositionAnswer(string Asked, long Event, long Lsn, string Time);

/// <summary>A stretch of a volume in bytes.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public sealed record ExtentAnswer(long Offset, long Length);

/// <summary>A stretch of history in which writes may have gone unrecorded; every block counts as written in
/// it.</summary>
/// <param name="FromLsn">LSN after which it begins.</param>
/// <param name="ToLsn">LSN at which it ends.</param>
/// <param name="Why">What happened.</param>
/// <param name="ExactFrom">When retention of the history left no single writes: from when on every one is known; else
/// null.</param>
public sealed record GapAnswer(long FromLsn, long ToLsn, string Why, string? ExactFrom = null);
