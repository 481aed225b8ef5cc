using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>Reads one whole segment that nobody writes to: what recovery and <c>bml check</c> stand on.</summary>
internal static class SegmentScan
{
    /// <summary>Calls back for each record, in order. Empty slots before a record are holes, and passed over.</summary>
    /// <param name="disk">Where the segment is.</param>
    /// <param name="path">Its path.</param>
    /// <param name="header">Its header.</param>
    /// <param name="limit">Records above this LSN were written again in a later segment and are passed over.</param>
    /// <param name="lastLsn">The last LSN that is known to have been given so far.</param>
    /// <param name="onRecord">Gets each record and its slot.</param>
    /// <exception cref="CorruptionException">A damaged slot stands before a good one, LSNs go back, or a place cannot be
    /// read.</exception>
    public static SegmentEnd Read(
        IJournalDisk disk, string path, in SegmentHeader header, long limit, ref long lastLsn,
        Action<JournalSlot, ReadOnlyMemory<byte>> onRecord)
    {
        var bytes = SegmentBytes.TryReadWhole(disk, path) ?? throw new FileNotFoundException("the segment was freed", path);
        var salt = header.Salt;
        var end = (long)SegmentHeader.Size;
        var damage = -1L;
        var hasHole = false;
        List<SegmentHole> holes = [];
        for (var at = SegmentHeader.Size; at + JournalSlot.Size <= bytes.Length; at += JournalSlot.Size)
        {
            var fault = JournalSlot.TryRead(bytes.AsSpan(at), salt, out var record);
            if (fault == SlotFault.Empty)
                continue;
            if (fault != SlotFault.None)
            {
                damage = damage < 0 ? at : damage;
                continue;
            }

            if (damage >= 0)
                throw new CorruptionException(path, damage, "a damaged record stands before a good one");
            var isHole = at != end;
            hasHole |= isHole;
            var from = end;
            end = at + JournalSlot.Size;
            if (record.Lsn > limit)
                continue;
            if (record.IsWrite ? record.Lsn <= lastLsn : record.Lsn < lastLsn)
                throw new CorruptionException(path, at, $"LSN {record.Lsn} follows LSN {lastLsn}");
            if (isHole)
                holes.Add(new(path, from, lastLsn, record.IsWrite ? record.Lsn - 1 : record.Lsn) { EndBytes = at });
            if (record.IsWrite)
                SetNextWrite(holes, record.Lsn);
            lastLsn = record.Lsn;
            onRecord(record, bytes.AsMemory(at, JournalSlot.Size));
        }

        return new(end, hasHole, holes);
    }

    private static void SetNextWrite(List<SegmentHole> holes, long lsn)
    {
        for (var i = holes.Count - 1; i >= 0 && holes[i].NextWriteLsn == long.MaxValue; i--)
            holes[i] = holes[i] with { NextWriteLsn = lsn };
    }
}

/// <summary>Where the records of a segment end.</summary>
/// <param name="EndBytes">The byte behind the last one.</param>
/// <param name="HasHole">Whether empty slots stand before a record, one that counts or not.</param>
/// <param name="Holes">Empty slots before a record that counts.</param>
internal readonly record struct SegmentEnd(long EndBytes, bool HasHole, IReadOnlyList<SegmentHole> Holes);
