using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>What a journal's directory holds when it is opened.</summary>
/// <param name="Segments">Segments in use, ascending.</param>
/// <param name="EndBytes">Byte behind the last record of the last segment; 0 when there is none.</param>
/// <param name="HasHole">Whether empty slots stand before that record.</param>
/// <param name="LastLsn">LSN of the last write.</param>
/// <param name="LastFence">Number of the last fence.</param>
/// <param name="LastConnection">Greatest connection number seen.</param>
/// <param name="TimeMicroseconds">The latest time recorded.</param>
internal sealed record JournalRecovery(
    IReadOnlyList<SegmentHeader> Segments,
    long EndBytes,
    bool HasHole,
    long LastLsn,
    long LastFence,
    int LastConnection,
    long TimeMicroseconds)
{
    /// <summary>Reads every segment to the end of its preallocated space.</summary>
    /// <exception cref="CorruptionException">Damage before a good record, or a segment is missing in the
    /// middle.</exception>
    public static JournalRecovery Read(string directory, Guid volumeId)
    {
        var segments = SegmentFiles.Headers(directory, volumeId);
        long end = 0, lsn = 0, fence = 0, time = 0;
        var connection = 0;
        var hole = false;
        for (var i = 0; i < segments.Count; i++)
        {
            var header = segments[i];
            var path = SegmentFiles.PathOf(directory, header.Number);
            if (i > 0 && header.Number != segments[i - 1].Number + 1)
                throw new CorruptionException(path, 24, $"segment {segments[i - 1].Number + 1} before it is missing");
            // A batch that failed may have taken LSNs and left no record; the next header knows how many.
            lsn = Math.Max(lsn, header.LastLsn);
            fence = Math.Max(fence, header.LastFence);
            time = Math.Max(time, header.TimeMicroseconds);
            connection = Math.Max(connection, header.LastConnection);
            end = SegmentScan.Read(path, header, ref lsn, out hole, (record, _) =>
            {
                time = Math.Max(time, record.TimeMicroseconds);
                connection = Math.Max(connection, record.Connection);
                if (record.Kind == SlotKind.Fence)
                    fence = Math.Max(fence, record.Offset);
            });
        }

        return new(segments, end, hole, lsn, fence, connection, time);
    }
}
