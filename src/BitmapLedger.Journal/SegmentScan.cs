using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>Reads one whole segment that nobody writes to: what recovery and <c>bml check</c> stand on.</summary>
internal static class SegmentScan
{
    /// <summary>Calls back for each record, in order. Empty slots behind which records stand are holes and passed
    /// over.</summary>
    /// <returns>The byte behind the last record.</returns>
    /// <exception cref="CorruptionException">A damaged slot stands before a good one, or LSNs go back.</exception>
    public static long Read(
        string path, in SegmentHeader header, ref long lastLsn, out bool hasHole, Action<JournalSlot, ReadOnlyMemory<byte>> onRecord)
    {
        var bytes = File.ReadAllBytes(path);
        var salt = header.Salt;
        var end = (long)SegmentHeader.Size;
        var damage = -1L;
        hasHole = false;
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
            if (record.IsWrite ? record.Lsn <= lastLsn : record.Lsn < lastLsn)
                throw new CorruptionException(path, at, $"LSN {record.Lsn} follows LSN {lastLsn}");
            lastLsn = record.Lsn;
            hasHole |= at != end;
            end = at + JournalSlot.Size;
            onRecord(record, bytes.AsMemory(at, JournalSlot.Size));
        }

        return end;
    }
}
