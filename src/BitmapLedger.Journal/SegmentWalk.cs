using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// Walks the segments of a journal in order and finds where records are missing that no later header declares void. One
/// thread.
/// </summary>
/// <param name="disk">Where the journal is.</param>
/// <param name="directory">Its directory.</param>
/// <param name="segments">Headers of its segments, ascending.</param>
internal sealed class SegmentWalk(IJournalDisk disk, string directory, IReadOnlyList<SegmentHeader> segments)
{
    private readonly long[] _limits = SegmentFiles.Limits(segments);
    private readonly long[] _stored = SegmentFiles.StoredBefore(segments);
    private readonly List<SegmentHole> _holes = [];
    private (string Path, long EndBytes)? _before;

    /// <summary>The last LSN that is known to have been given.</summary>
    public long LastLsn { get; private set; }

    /// <summary>The byte behind the last record of the last segment.</summary>
    public long EndBytes { get; private set; }

    /// <summary>Whether empty slots stand before a record of the last segment.</summary>
    public bool HasHole { get; private set; }

    /// <summary>Where records may be missing.</summary>
    public IReadOnlyList<SegmentHole> Holes => _holes;

    /// <summary>Reads the next segment.</summary>
    /// <param name="index">Its index.</param>
    /// <param name="onRecord">Gets each record that counts, and its slot.</param>
    /// <exception cref="CorruptionException">A damaged slot stands before a good one, or LSNs go back.</exception>
    /// <exception cref="FileNotFoundException">The segment was freed.</exception>
    public void Read(int index, Action<JournalSlot, ReadOnlyMemory<byte>> onRecord)
    {
        var header = segments[index];
        // Where the segment before was not read to its end, nobody knows whether it lacks something.
        if (_before is var (path, end) && LastLsn < _stored[index])
            _holes.Add(Judged(Between(new(path, end, LastLsn, _stored[index]), index), header, marked: 0));
        _before = null;
        // A batch that failed may have taken LSNs and left no record; the next header knows how many.
        var lsn = Math.Max(LastLsn, Math.Min(header.LastLsn, _limits[index]));
        var marked = 0L;
        var own = SegmentFiles.PathOf(directory, header.Number);
        try
        {
            var read = SegmentScan.Read(disk, own, header, _limits[index], ref lsn, (record, slot) =>
            {
                if (record.Kind == SlotKind.Marks)
                    marked = Math.Max(marked, record.Length);
                onRecord(record, slot);
            });
            var declared = header.DeclaresVoids ? _stored[index + 1] : long.MaxValue;
            _holes.AddRange(read.Holes.Where(h => h.AfterLsn < declared).Select(h => Judged(h, header, marked)));
            (EndBytes, HasHole) = (read.EndBytes, read.HasHole);
            _before = (own, read.EndBytes);
        }
        finally
        {
            LastLsn = lsn;
        }
    }

    /// <summary>Reads every segment.</summary>
    /// <exception cref="CorruptionException">A damaged slot stands before a good one, or LSNs go back.</exception>
    public void ReadAll(Action<JournalSlot, ReadOnlyMemory<byte>> onRecord)
    {
        for (var i = 0; i < segments.Count; i++)
            Read(i, onRecord);
    }

    /// <summary>Numbers that were passed over say more of what is missing.</summary>
    private SegmentHole Between(SegmentHole hole, int index)
    {
        var number = segments[index - 1].Number + 1;
        if (number == segments[index].Number)
            return hole;
        using var file = disk.TryOpen(SegmentFiles.PathOf(directory, number), writable: false);
        return file is not null
            ? hole with { Path = SegmentFiles.PathOf(directory, number), OffsetBytes = 0, Fault = SegmentHole.HeaderGone }
            : hole with
            {
                Path = SegmentFiles.PathOf(directory, segments[index].Number),
                OffsetBytes = SegmentHeader.NumberOffset,
                Fault = SegmentHole.SegmentGone(number),
            };
    }

    private static SegmentHole Judged(SegmentHole hole, in SegmentHeader header, long marked) => header switch
    {
        // Only what marks of the same segment call durable: LSNs could be passed over anywhere.
        { DeclaresVoids: false } => hole with { DurableLsn = marked, GivenLsn = hole.AfterLsn },
        { Durability: JournalDurability.Process } => hole with { DurableLsn = long.MaxValue },
        _ => hole,
    };
}
