using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>A place where records may be missing: empty slots before a record, or the end of a segment before the next
/// one.</summary>
/// <param name="Path">Of the segment.</param>
/// <param name="OffsetBytes">Where it begins.</param>
/// <param name="AfterLsn">The last LSN that is accounted for before it.</param>
/// <param name="GivenLsn">The last LSN that had been given when what stands behind it was written.</param>
/// <param name="NextWriteLsn">LSN of the next write behind it in the segment; <see cref="long.MaxValue"/> when there is
/// none.</param>
internal sealed record SegmentHole(
    string Path, long OffsetBytes, long AfterLsn, long GivenLsn, long NextWriteLsn = long.MaxValue)
{
    /// <summary>What is wrong when records are missing, in words.</summary>
    public const string RecordsGone = "records that were durable are gone";

    /// <summary>What is wrong when a segment with records looks as if it had never been used.</summary>
    public const string HeaderGone = "the header of a segment in use is gone";

    /// <summary>What is wrong when a segment is not there, in words.</summary>
    public static string SegmentGone(long number) => $"segment {number} before it is missing";

    /// <summary>What is wrong if this is damage, in words.</summary>
    public string Fault { get; init; } = RecordsGone;

    /// <summary>Where it ends; 0 at the end of a segment.</summary>
    public long EndBytes { get; init; }

    /// <summary>LSN up to which records count as durable, whatever the journal says; null where it decides.</summary>
    public long? DurableLsn { get; init; }

    /// <summary>The error that it is, if it is damage.</summary>
    public CorruptionException ToException() => new(Path, OffsetBytes, Fault);

    /// <summary>Whether something durable stood there: slots are filled in order and synced together, so what stands before
    /// a durable write was durable too.</summary>
    /// <param name="durableLsn">LSN up to which the journal says that it is durable.</param>
    public bool IsDamage(long durableLsn)
    {
        var durable = DurableLsn ?? durableLsn;
        return NextWriteLsn <= durable || AfterLsn < Math.Min(durable, GivenLsn);
    }
}
