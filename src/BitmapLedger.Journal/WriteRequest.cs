using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <summary>A write that is about to happen.</summary>
/// <param name="Kind">What it does.</param>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes; above 0.</param>
public readonly record struct WriteRequest(WriteKind Kind, long Offset, long Length);

/// <summary>Where a rotation cut the writes.</summary>
/// <param name="Number">Number of the fence, 1, 2, 3 …</param>
/// <param name="Lsn">LSN of the last write before it.</param>
/// <param name="TimeMicroseconds">Microseconds since the Unix epoch; not before any write up to
/// <paramref name="Lsn"/>.</param>
public readonly record struct FenceRecord(long Number, long Lsn, long TimeMicroseconds);
