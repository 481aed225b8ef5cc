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
/// <param name="Marks">How far journal and data were durable, as far as the journal says.</param>
internal sealed record JournalRecovery(
    IReadOnlyList<SegmentHeader> Segments,
    long EndBytes,
    bool HasHole,
    long LastLsn,
    long LastFence,
    int LastConnection,
    long TimeMicroseconds,
    DurableMarks Marks)
{
    /// <summary>Reads every segment to the end of its preallocated space.</summary>
    /// <param name="options">Where the journal is.</param>
    /// <param name="isPartial">Whether whole segments may be missing: all of the volume is taken for written then.</param>
    /// <exception cref="CorruptionException">Damage before a good record, durable records that are gone, or a segment
    /// is missing in the middle.</exception>
    public static JournalRecovery Read(JournalOptions options, bool isPartial)
    {
        var segments = SegmentFiles.Headers(options.Disk, options.Directory, options.VolumeId);
        if (!isPartial)
            RequireEach(options, segments);
        long end = 0, fence = 0, time = 0;
        var connection = 0;
        var hole = false;
        // Under durability `power` a segment is freed only when journal and data were durable up to its end.
        var freed = segments.Count > 0 && options.Durability == JournalDurability.Power ? segments[0].LastLsn : 0;
        var marks = new DurableMarks(freed, freed);
        foreach (var header in segments)
        {
            fence = Math.Max(fence, header.LastFence);
            time = Math.Max(time, header.TimeMicroseconds);
            connection = Math.Max(connection, header.LastConnection);
            marks = marks.Max(header.Marks);
        }

        var lsn = Walk(options, segments, (record, _) =>
        {
            time = Math.Max(time, record.TimeMicroseconds);
            connection = Math.Max(connection, record.Connection);
            if (record.Kind == SlotKind.Fence)
                fence = Math.Max(fence, record.Offset);
            if (record.Kind == SlotKind.Marks)
                marks = marks.Max(new(record.Length, record.Offset));
        }, last => (end, hole) = (last.EndBytes, last.HasHole));
        return new(segments, end, hole, lsn, fence, connection, time, marks);
    }

    /// <summary>Calls back for each record that counts, in order.</summary>
    /// <param name="options">Where the journal is.</param>
    /// <param name="segments">Its segments, ascending.</param>
    /// <param name="onRecord">Gets each record and its slot.</param>
    /// <param name="onEnd">Gets the end of each segment.</param>
    /// <returns>LSN of the last write.</returns>
    public static long Walk(
        JournalOptions options, IReadOnlyList<SegmentHeader> segments, Action<JournalSlot, ReadOnlyMemory<byte>> onRecord,
        Action<SegmentEnd> onEnd)
    {
        var lsn = 0L;
        foreach (var (header, limit) in segments.Zip(SegmentFiles.Limits(segments)))
        {
            // A batch that failed may have taken LSNs and left no record; the next header knows how many.
            lsn = Math.Max(lsn, Math.Min(header.LastLsn, limit));
            var durable = 0L;
            var path = SegmentFiles.PathOf(options.Directory, header.Number);
            var end = SegmentScan.Read(options.Disk, path, header, limit, ref lsn, (record, slot) =>
            {
                if (record.Kind == SlotKind.Marks)
                    durable = Math.Max(durable, record.Length);
                onRecord(record, slot);
            });
            if (end.Hole is { } hole && hole.NextLsn <= durable)
                throw new CorruptionException(hole.Path, hole.OffsetBytes, "records that were durable are gone");
            onEnd(end);
        }

        return lsn;
    }

    /// <summary>A segment that was prepared, and whose header a crash took, is passed over; one that is not there at
    /// all was taken by somebody.</summary>
    private static void RequireEach(JournalOptions options, List<SegmentHeader> segments)
    {
        var there = SegmentFiles.Numbers(options.Disk, options.Directory).ToHashSet();
        for (var i = 1; i < segments.Count; i++)
            for (var number = segments[i - 1].Number + 1; number < segments[i].Number; number++)
                if (!there.Contains(number))
                    throw new CorruptionException(
                        SegmentFiles.PathOf(options.Directory, segments[i].Number), 24, $"segment {number} before it is missing");
    }
}
