namespace BitmapLedger.Journal;

/// <summary>How far things are durable. What a power loss may undo lies above.</summary>
/// <param name="JournalLsn">LSN up to which every record is on the disk.</param>
/// <param name="DataLsn">LSN up to which the data of every write is.</param>
public readonly record struct DurableMarks(long JournalLsn, long DataLsn)
{
    /// <summary>LSN up to which nothing can be undone.</summary>
    public long Both => Math.Min(JournalLsn, DataLsn);

    /// <summary>The further of each.</summary>
    public DurableMarks Max(in DurableMarks other) =>
        new(Math.Max(JournalLsn, other.JournalLsn), Math.Max(DataLsn, other.DataLsn));
}
