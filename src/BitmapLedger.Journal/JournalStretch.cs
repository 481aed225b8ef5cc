using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <summary>A part of a journal as <see cref="JournalSurvey"/> finds it, in LSN order.</summary>
public abstract record JournalStretch
{
    private JournalStretch()
    {
    }

    /// <summary>Writes whose records are whole.</summary>
    /// <param name="Writes">Ascending by LSN; a gap between them is a void.</param>
    public sealed record Whole(ReadOnlyMemory<SingleWrite> Writes) : JournalStretch;

    /// <summary>A place that cannot be read any more.</summary>
    /// <param name="File">The file.</param>
    /// <param name="FromByte">Where the damage starts in it.</param>
    /// <param name="AfterLsn">The last LSN that is known before it.</param>
    /// <param name="ToLsn">The last LSN that may have stood in it, equal to <paramref name="AfterLsn"/> when it held no
    /// write; null when nothing can be read behind it, so that nobody knows.</param>
    /// <param name="Fault">What is wrong, in words.</param>
    public sealed record Damaged(string File, long FromByte, long AfterLsn, long? ToLsn, string Fault) : JournalStretch
    {
        /// <summary>Whether records stand in that file. Of one that says how the journal stands no record is missing, and yet any
        /// block may have been written that nobody knows of.</summary>
        public bool HoldsRecords { get; init; } = true;
    }
}
