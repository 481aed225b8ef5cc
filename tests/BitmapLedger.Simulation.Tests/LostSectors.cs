using BitmapLedger.Journal;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// A disk that lies: sectors of a segment that were synced read back as zeroes, or cannot be read any more. Of zeroes those
/// are chosen of which the journal can know: what is left of it says that they were durable, or holds records behind them
/// under durability <c>process</c>.
/// </summary>
internal sealed class LostSectors(Guid volumeId, IReadOnlyList<SimulatedInode> segments, Random random)
{
    private const int SectorsMax = 3;

    /// <summary>Loses some; false when none can be lost.</summary>
    public bool TryLose()
    {
        if (segments.Count == 0)
            return false;
        var segment = segments[random.Next(segments.Count)];
        var bytes = segment.OnDisk;
        var count = bytes.Length / SimulatedInode.Sector;
        if (count == 0 || HeaderOf(segment) is not { } header)
            return false;
        var first = random.Next(count);
        var end = Math.Min(count, first + random.Next(1, SectorsMax + 1));
        for (var sector = first; sector < end; sector++)
            if (!segment.IsOnDisk(sector))
                return false;
        if (random.Next(3) == 0)
        {
            for (var sector = first; sector < end; sector++)
                segment.Spoil(sector);
            return true;
        }

        // Without its header all of a segment is lost.
        var lost = first == 0 ? (First: 1, End: count) : (First: first, End: end);
        var lastLsn = Records(segment, header, lost.First, lost.End).Where(r => r.IsWrite).Select(r => r.Lsn).DefaultIfEmpty().Max();
        if (lastLsn == 0 || !IsKnown(segment, header, lost, lastLsn))
            return false;
        for (var sector = first; sector < end; sector++)
            segment.Zero(sector);
        return true;
    }

    private bool IsKnown(SimulatedInode segment, SegmentHeader header, (int First, int End) lost, long lastLsn)
    {
        var later = segments.Select(s => (Segment: s, Header: HeaderOf(s))).Where(s => s.Header is { } h && h.Number > header.Number).ToList();
        if (header.Durability == JournalDurability.Process)
            return later.Count > 0 || Records(segment, header, lost.End, segment.OnDisk.Length / SimulatedInode.Sector).Count > 0;
        var limit = later.Where(s => s.Header!.Value.Rewrites).Select(s => s.Header!.Value.LastLsn).DefaultIfEmpty(long.MaxValue).Min();
        var marks = Records(segment, header, lost.End, segment.OnDisk.Length / SimulatedInode.Sector)
            .Where(r => r.Kind == SlotKind.Marks && r.Lsn <= limit).Select(r => r.Length)
            .Concat(later.Select(s => s.Header!.Value.Marks.JournalLsn));
        return lastLsn <= marks.DefaultIfEmpty().Max();
    }

    private SegmentHeader? HeaderOf(SimulatedInode segment) =>
        SegmentHeader.TryRead(segment.OnDisk, out _) is { } header && header.VolumeId == volumeId ? header : null;

    private static List<JournalSlot> Records(SimulatedInode segment, SegmentHeader header, int first, int end)
    {
        List<JournalSlot> records = [];
        var bytes = segment.OnDisk;
        for (var at = Math.Max(first, 1) * SimulatedInode.Sector; at < end * SimulatedInode.Sector; at += JournalSlot.Size)
            if (JournalSlot.TryRead(bytes[at..], header.Salt, out var record) == SlotFault.None)
                records.Add(record);
        return records;
    }
}
