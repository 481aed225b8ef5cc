namespace BitmapLedger.Bitmaps.Writes;

/// <summary>Which single writes were coalesced.</summary>
/// <param name="FirstEvent">Number of the first event that they stood in.</param>
/// <param name="FirstLsn">First LSN, of a write or a void.</param>
/// <param name="LastLsn">Last LSN, of a write or a void.</param>
/// <param name="FirstTimeMicroseconds">Time of the first write, microseconds since the Unix epoch; 0 when there was
/// none.</param>
/// <param name="LastTimeMicroseconds">Time of the last write; 0 when there was none.</param>
/// <param name="Count">How many writes.</param>
/// <param name="TotalBytes">Sum of their lengths, in bytes.</param>
public readonly record struct CoalescedSpan(
    long FirstEvent, long FirstLsn, long LastLsn, long FirstTimeMicroseconds, long LastTimeMicroseconds, long Count, long TotalBytes)
{
    /// <summary>The span of this and of writes that follow.</summary>
    public CoalescedSpan With(PackedWrites next) => this with
    {
        LastLsn = next.LastLsn,
        FirstTimeMicroseconds = FirstTimeMicroseconds == 0 ? next.FirstTimeMicroseconds : FirstTimeMicroseconds,
        LastTimeMicroseconds = Math.Max(LastTimeMicroseconds, next.LastTimeMicroseconds),
        Count = Count + next.Count,
        TotalBytes = TotalBytes + next.TotalBytes,
    };

    /// <summary>The span of the writes of one event.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="writes">Its writes.</param>
    public static CoalescedSpan Of(long number, PackedWrites writes) =>
        new CoalescedSpan(number, writes.FirstLsn, writes.LastLsn, 0, 0, 0, 0).With(writes);

    internal bool IsPossible =>
        FirstEvent >= 1 && FirstLsn >= 1 && LastLsn >= FirstLsn && FirstTimeMicroseconds >= 0
        && LastTimeMicroseconds >= FirstTimeMicroseconds && Count >= 0 && TotalBytes >= Count;
}
