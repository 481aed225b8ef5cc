namespace BitmapLedger.Domain.Queries;

/// <summary>A place in a volume's history.</summary>
/// <param name="Event">The last event that is in, wholly or in part; 0 before the first.</param>
/// <param name="Lsn">LSN of the last write that is in; 0 when none.</param>
/// <param name="Time">When.</param>
public readonly record struct Position(long Event, long Lsn, DateTimeOffset Time);

/// <summary>A stretch of history in which writes may have gone unrecorded.</summary>
/// <param name="FromLsn">LSN after which it begins.</param>
/// <param name="ToLsn">LSN at which it ends.</param>
/// <param name="Why">What happened.</param>
public sealed record Gap(long FromLsn, long ToLsn, string Why)
{
    /// <summary>The same gaps, oldest first; those of coalesced writes that touch or overlap are one.</summary>
    public static IReadOnlyList<Gap> Merged(IEnumerable<Gap> gaps)
    {
        List<Gap> merged = [];
        foreach (var gap in gaps.OrderBy(g => g.FromLsn).ThenBy(g => g.ToLsn))
            if (merged is [.., var last] && last.Why == gap.Why && gap.FromLsn <= last.ToLsn && HistoryCoalesced.Makes(gap))
                merged[^1] = last with { ToLsn = Math.Max(last.ToLsn, gap.ToLsn) };
            else
                merged.Add(gap);
        return merged;
    }
}
