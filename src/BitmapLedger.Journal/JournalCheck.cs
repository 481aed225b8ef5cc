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
    /// <summary>Walks a journal on the machine's file systems. Its writer may go on: what is under way at the end is no
    /// damage.</summary>
    public static JournalCheck Walk(string directory, Guid volumeId) => Walk(directory, volumeId, PosixDisk.Instance);

    /// <summary>Walks a journal.</summary>
    /// <param name="directory">Its directory.</param>
    /// <param name="volumeId">Whose it is.</param>
    /// <param name="disk">Where it is.</param>
    /// <exception cref="FormatVersionException">A later program wrote a file of it.</exception>
    public static JournalCheck Walk(string directory, Guid volumeId, IJournalDisk disk)
    {
        List<CorruptionException> damage = [];
        List<SegmentHeader> headers = [];
        Look(directory, damage, () => headers = SegmentFiles.Headers(disk, directory, volumeId));
        var walk = new SegmentWalk(disk, directory, headers);
        var durable = headers.Select(h => h.Marks.JournalLsn).DefaultIfEmpty().Max();
        var writes = 0L;
        for (var i = 0; i < headers.Count; i++)
        {
            var index = i;
            Look(SegmentFiles.PathOf(directory, headers[i].Number), damage, () => walk.Read(index, (record, _) =>
            {
                writes += record.IsWrite ? 1 : 0;
                durable = record.Kind == SlotKind.Marks ? Math.Max(durable, record.Length) : durable;
            }));
        }

        damage.AddRange(walk.Holes.Where(h => h.IsDamage(durable) && IsThere(disk, h)).Select(h => h.ToException()));
        Look(directory, damage, () =>
        {
            if (SegmentFiles.FindLostHeader(disk, directory, headers) is { } lost)
                damage.Add(new(lost, 0, SegmentHole.HeaderGone));
        });
        Look(directory, damage, () => damage.AddRange(SmallFiles.FindDamage(disk, directory, volumeId)));
        var oldest = (headers.Count > 0 ? headers[0].LastLsn : 0) + 1;
        if (headers.Count > 0 && damage.Count == 0)
            Look(directory, damage, () => RequireEnd(disk, directory, headers[^1], walk));
        return new(headers.Count, writes, oldest, walk.LastLsn, damage);
    }

    /// <summary>Does a part of the walk; what it finds is one more damaged place.</summary>
    private static void Look(string place, List<CorruptionException> damage, Action look)
    {
        try
        {
            look();
        }
        catch (CorruptionException found)
        {
            damage.Add(found);
        }
        catch (FileNotFoundException)
        {
            // The writer freed it meanwhile.
        }
        catch (IOException refusal)
        {
            // A disk that reads nothing says so once.
            if (!damage.Exists(d => d.Place == place))
                damage.Add(new(place, 0, refusal.Message));
        }
    }

    /// <summary>What was durable when a journal was closed in order must be there.</summary>
    private static void RequireEnd(IJournalDisk disk, string directory, in SegmentHeader last, SegmentWalk walk)
    {
        if (BootState.Read(disk, directory, bootId: "", mounts: 0).StoredLsn > walk.LastLsn)
            throw new CorruptionException(SegmentFiles.PathOf(directory, last.Number), walk.EndBytes, SegmentHole.RecordsGone);
    }

    /// <summary>Whether a hole is still there: while its writer goes on, a record may be read before the one before
    /// it.</summary>
    private static bool IsThere(IJournalDisk disk, SegmentHole hole)
    {
        if (hole.EndBytes == 0)
            return true;
        using var file = disk.TryOpen(hole.Path, writable: false);
        Span<byte> slot = stackalloc byte[JournalSlot.Size];
        var length = file?.Read(slot, hole.OffsetBytes) ?? slot.Length;
        return file is not null && !slot[..length].ContainsAnyExcept((byte)0);
    }
}
