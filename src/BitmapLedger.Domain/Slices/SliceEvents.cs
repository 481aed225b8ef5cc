namespace BitmapLedger.Domain;

/// <summary>How many slices a bitmap keeps was set.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="Slices">Most slices that it keeps; 0 for none.</param>
/// <param name="Overflow"><c>fail</c>, or <c>cycle</c>: then the oldest goes when another is banked.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record RetentionSet(string Bitmap, long Slices, string Overflow, long AtLsn) : ICommandEvent;

/// <summary>The bits of a bitmap moved into a numbered slice; the bitmap is empty and records as before.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="Slice">Number of the slice: 0, 1, 2 …, not given twice until a reset.</param>
/// <param name="Cause"><c>manual</c>; or <c>backup</c>: then the bits are those of the job's start.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record SliceBanked(string Bitmap, long Slice, string Cause, long AtLsn) : ICommandEvent;

/// <summary>A slice was deleted: its bits joined the next older one that is kept, and went when there was none.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="Slice">Number of the slice.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record SliceDeleted(string Bitmap, long Slice, long AtLsn) : ICommandEvent;

/// <summary>The oldest slice had to make room: it and its bits are gone.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="Slice">Number of the slice.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record SliceDropped(string Bitmap, long Slice, long AtLsn) : ICommandEvent;

/// <summary>A full backup made all slices of a bitmap superfluous: they are gone, and the next one is 0.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record SlicesReset(string Bitmap, long AtLsn) : ICommandEvent;

/// <summary>A slice of a bitmap.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="Slice">Its number.</param>
public sealed record SliceName(string Bitmap, long Slice);
