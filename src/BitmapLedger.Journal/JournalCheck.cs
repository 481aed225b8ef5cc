using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>What a walk over a whole journal found.</summary>
/// <param name="Segments">Segments in use.</param>
/// <param name="Writes">Records of writes.</param>
/// <param name="OldestLsn">LSN of the oldest write that may be there.</param>
/// <param name="LastLsn">LSN of the last write.</param>
/// <param name="Damage">Each damaged place; empty when all is well.</param>
public sealed record JournalCheck(
    int Segments, long Writes, long OldestLsn, long LastLsn, IReadOnlyList<CorruptionException> Damage)
{
    /// <summary>Walks a journal. Its writer may go on: what is under way at the end is no damage.</summary>
    public static JournalCheck Walk(string directory, Guid volumeId)
    {
        List<CorruptionException> damage = [];
        List<SegmentHeader> headers = [];
        try
        {
            headers = SegmentFiles.Headers(PosixDisk.Instance, directory, volumeId);
        }
        catch (CorruptionException found)
        {
            damage.Add(found);
        }

        var walk = new SegmentWalk(PosixDisk.Instance, directory, headers);
        var durable = headers.Select(h => h.Marks.JournalLsn).DefaultIfEmpty().Max();
        var writes = 0L;
        for (var i = 0; i < headers.Count; i++)
        {
            try
            {
                walk.Read(i, (record, _) =>
                {
                    writes += record.IsWrite ? 1 : 0;
                    durable = record.Kind == SlotKind.Marks ? Math.Max(durable, record.Length) : durable;
                });
            }
            catch (CorruptionException found)
            {
                damage.Add(found);
            }
            catch (FileNotFoundException)
            {
                // The writer freed it meanwhile.
            }
        }

        damage.AddRange(walk.Holes.Where(h => h.IsDamage(durable) && IsThere(h)).Select(h => h.ToException()));
        if (SegmentFiles.FindLostHeader(PosixDisk.Instance, directory, headers) is { } lost)
            damage.Add(new(lost, 0, SegmentHole.HeaderGone));
        var oldest = (headers.Count > 0 ? headers[0].LastLsn : 0) + 1;
        if (headers.Count > 0 && damage.Count == 0 && MissingEnd(directory, headers[^1], walk) is { } gone)
            damage.Add(gone);
        return new(headers.Count, writes, oldest, walk.LastLsn, damage);
    }

    /// <summary>What is wrong with the end of a journal that was closed in order; null when nothing is.</summary>
    private static CorruptionException? MissingEnd(string directory, in SegmentHeader last, SegmentWalk walk)
    {
        try
        {
            return BootState.Read(PosixDisk.Instance, directory, bootId: "", mounts: 0).StoredLsn > walk.LastLsn
                ? new(SegmentFiles.PathOf(directory, last.Number), walk.EndBytes, SegmentHole.RecordsGone)
                : null;
        }
        catch (CorruptionException found)
        {
            return found;
        }
    }

    /// <summary>Whether a hole is still there: while its writer goes on, a record may be read before the one before
    /// it.</summary>
    private static bool IsThere(SegmentHole hole)
    {
        if (hole.EndBytes == 0)
            return true;
        using var file = PosixDisk.Instance.TryOpen(hole.Path, writable: false);
        Span<byte> slot = stackalloc byte[JournalSlot.Size];
        var length = file?.Read(slot, hole.OffsetBytes) ?? slot.Length;
        return file is not null && !slot[..length].ContainsAnyExcept((byte)0);
    }
}
