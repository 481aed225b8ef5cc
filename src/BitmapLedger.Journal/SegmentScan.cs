using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>Reads one whole segment that nobody writes to: what recovery and <c>bml check</c> stand on.</summary>
internal static class SegmentScan
{
    /// <summary>Calls back for each record, in order. Empty slots behind which records stand are holes and passed
    /// over.</summary>
    /// <param name="disk">Where the segment is.</param>
    /// <param name="path">Its path.</param>
    /// <param name="header">Its header.</param>
    /// <param name="limit">Records above this LSN were written again in a later segment and are passed over.</param>
    /// <param name="lastLsn">LSN of the last write so far.</param>
    /// <param name="onRecord">Gets each record and its slot.</param>
    /// <exception cref="CorruptionException">A damaged slot stands before a good one, or LSNs go back.</exception>
    public static SegmentEnd Read(
        IJournalDisk disk, string path, in SegmentHeader header, long limit, ref long lastLsn,
        Action<JournalSlot, ReadOnlyMemory<byte>> onRecord)
    {
        var bytes = ReadAll(disk, path);
        var salt = header.Salt;
        var end = (long)SegmentHeader.Size;
        var damage = -1L;
        SegmentHole? hole = null;
        var passed = -1L;
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
            passed = passed < 0 && at != end ? end : passed;
            // Only a write says what it stands behind: other records carry an LSN that was given before.
            if (passed >= 0 && record.IsWrite)
                hole ??= new(path, passed, record.Lsn);
            end = at + JournalSlot.Size;
            if (record.Lsn > limit)
                continue;
            if (record.IsWrite ? record.Lsn <= lastLsn : record.Lsn < lastLsn)
                throw new CorruptionException(path, at, $"LSN {record.Lsn} follows LSN {lastLsn}");
            lastLsn = record.Lsn;
            onRecord(record, bytes.AsMemory(at, JournalSlot.Size));
        }

        return new(end, passed >= 0, hole);
    }

    private static byte[] ReadAll(IJournalDisk disk, string path)
    {
        using var file = disk.TryOpen(path, writable: false) ?? throw new FileNotFoundException("the segment was freed", path);
        var bytes = new byte[file.Length];
        var length = file.Read(bytes, 0);
        return length == bytes.Length ? bytes : bytes[..length];
    }
}

/// <summary>Empty slots before a write.</summary>
/// <param name="Path">Of the segment.</param>
/// <param name="OffsetBytes">Where they begin.</param>
/// <param name="NextLsn">LSN of the first write behind them.</param>
internal sealed record SegmentHole(string Path, long OffsetBytes, long NextLsn);

/// <summary>Where the records of a segment end.</summary>
/// <param name="EndBytes">The byte behind the last one.</param>
/// <param name="HasHole">Whether empty slots stand before a record.</param>
/// <param name="Hole">The first of them before a write; null when there are none.</param>
internal readonly record struct SegmentEnd(long EndBytes, bool HasHole, SegmentHole? Hole);
