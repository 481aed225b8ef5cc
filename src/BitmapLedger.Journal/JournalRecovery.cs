using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>What a journal's directory holds when it is opened.</summary>
/// <param name="Segments">Segments in use, ascending.</param>
/// <param name="EndBytes">Byte behind the last record of the last segment; 0 when there is none.</param>
/// <param name="IsSealed">Whether nothing may be added to the last segment: empty slots stand in it, or another format or
/// durability begins.</param>
/// <param name="LastLsn">LSN of the last write.</param>
/// <param name="LastFence">Number of the last fence.</param>
/// <param name="LastConnection">Greatest connection number seen.</param>
/// <param name="TimeMicroseconds">The latest time recorded.</param>
/// <param name="Marks">How far journal and data were durable, as far as the journal says.</param>
/// <param name="HasOpenHole">Whether records are missing that nobody declared void, above what is known to be durable.</param>
internal sealed record JournalRecovery(
    IReadOnlyList<SegmentHeader> Segments,
    long EndBytes,
    bool IsSealed,
    long LastLsn,
    long LastFence,
    int LastConnection,
    long TimeMicroseconds,
    DurableMarks Marks,
    bool HasOpenHole)
{
    /// <summary>Reads every segment to the end of its preallocated space.</summary>
    /// <param name="options">Where the journal is.</param>
    /// <param name="isPartial">Whether records and whole segments may be missing: all of the volume is taken for written
    /// then.</param>
    /// <exception cref="CorruptionException">Damage before a good record, durable records that are gone, or a segment
    /// is missing in the middle.</exception>
    public static JournalRecovery Read(JournalOptions options, bool isPartial)
    {
        var segments = SegmentFiles.Headers(options.Disk, options.Directory, options.VolumeId);
        if (!isPartial)
        {
            RequireEach(options, segments);
            if (SegmentFiles.FindLostHeader(options.Disk, options.Directory, segments) is { } lost)
                throw new CorruptionException(lost, 0, SegmentHole.HeaderGone);
        }

        long fence = 0, time = 0;
        var connection = 0;
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

        var walk = new SegmentWalk(options.Disk, options.Directory, segments);
        walk.ReadAll((record, _) =>
        {
            time = Math.Max(time, record.TimeMicroseconds);
            connection = Math.Max(connection, record.Connection);
            if (record.Kind == SlotKind.Fence)
                fence = Math.Max(fence, record.Offset);
            if (record.Kind == SlotKind.Marks)
                marks = marks.Max(new(record.Length, record.Offset));
        });
        if (!isPartial && walk.Holes.FirstOrDefault(h => h.IsDamage(marks.JournalLsn)) is { } hole)
            throw hole.ToException();
        var isSealed = walk.HasHole || (segments.Count > 0
            && (!segments[^1].DeclaresVoids || segments[^1].Durability != options.Durability));
        return new(
            segments, walk.EndBytes, isSealed, walk.LastLsn, fence, connection, time, marks, walk.Holes.Count > 0);
    }

    /// <summary>A segment that was prepared, and whose header a crash took, is passed over; one that is not there at
    /// all was taken by somebody. From version 3 on the next header says whether it held anything.</summary>
    private static void RequireEach(JournalOptions options, List<SegmentHeader> segments)
    {
        var there = SegmentFiles.Numbers(options.Disk, options.Directory).ToHashSet();
        for (var i = 1; i < segments.Count && !segments[i].DeclaresVoids; i++)
            for (var number = segments[i - 1].Number + 1; number < segments[i].Number; number++)
                if (!there.Contains(number))
                    throw new CorruptionException(
                        SegmentFiles.PathOf(options.Directory, segments[i].Number), SegmentHeader.NumberOffset,
                        SegmentHole.SegmentGone(number));
    }
}
