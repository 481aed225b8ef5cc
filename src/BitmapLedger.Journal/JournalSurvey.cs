using System.Text;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <summary>
/// Reads all of a journal that can still be read, and says what cannot: what <c>bml repair</c> stands on. Records carry
/// a checksum salted with volume and segment, so those behind a damaged place, or behind a damaged header, are as good
/// as those before it. What the disk cannot read is such a place. One thread; nobody writes to the journal meanwhile.
/// </summary>
/// <param name="directory">The journal's directory.</param>
/// <param name="volumeId">Whose journal it is.</param>
/// <param name="disk">Where it is.</param>
public sealed class JournalSurvey(string directory, Guid volumeId, IJournalDisk disk)
{
    /// <summary>Most writes of one stretch.</summary>
    private const int WritesMax = 16_384;

    private readonly Dictionary<int, string> _names = [];
    private readonly List<JournalStretch> _found = [];
    private readonly List<SingleWrite> _writes = [];
    private (string File, long FromByte, string Fault)? _damage;
    private bool _isDamageAnyway;
    private (string Path, long EndBytes)? _end;
    private long _durableLsn;
    private long _lastLsn;

    /// <summary>Surveys a journal on the machine's file systems.</summary>
    /// <param name="directory">The journal's directory.</param>
    /// <param name="volumeId">Whose journal it is.</param>
    public JournalSurvey(string directory, Guid volumeId)
        : this(directory, volumeId, PosixDisk.Instance)
    {
    }

    /// <summary>Names of the connections met so far.</summary>
    public IReadOnlyDictionary<int, string> Names => _names;

    /// <summary>LSN of the oldest write that the journal may hold, once it is being read: those before it were
    /// freed.</summary>
    public long OldestLsn { get; private set; } = 1;

    /// <summary>Walks the journal from its oldest record on.</summary>
    /// <returns>What it finds, in LSN order; nothing larger than a segment is in memory at once.</returns>
    /// <exception cref="IOException">The disk reads nothing at all: then nobody knows what is damaged.</exception>
    /// <exception cref="FormatVersionException">A later program wrote a file of it: that is no damage.</exception>
    public IEnumerable<JournalStretch> Read()
    {
        long previous = 0;
        var numbers = SegmentFiles.Numbers(disk, directory);
        var headers = numbers.Select(HeaderOf).OfType<SegmentHeader>().ToList();
        _durableLsn = headers.Select(h => h.Marks.JournalLsn).Concat(numbers.Select(n => MarkedDurable(n, ReadAll(n).Bytes))).DefaultIfEmpty().Max();
        foreach (var number in numbers)
        {
            var path = SegmentFiles.PathOf(directory, number);
            var bytes = ReadAll(number);
            if (previous > 0 && number != previous + 1 && HeaderOf(number) is not { DeclaresVoids: true })
                Damage(path, 0, SegmentHole.SegmentGone(previous + 1));
            var later = headers.Where(h => h.Number > number).ToList();
            var limit = later.Where(h => h.Rewrites).Select(h => h.LastLsn).DefaultIfEmpty(long.MaxValue).Min();
            var stored = SegmentFiles.StoredBefore(later)[0];
            ReadHeader(path, bytes, number, limit, stored, isFirst: previous == 0);
            // Of one whose header is damaged only the slots tell, and what they call durable.
            var header = headers.Find(h => h.Number == number) is { Number: > 0 } known
                ? known
                : new(volumeId, number, 0, 0, 0, 0, default, Rewrites: false) { Durability = JournalDurability.Power };
            ReadSlots(path, bytes, header, limit, header.DeclaresVoids ? stored : long.MaxValue);
            previous = number;
            foreach (var stretch in TakeFound())
                yield return stretch;
        }

        ReadEnd();
        // A fault of slots that nothing follows is the batch that a killed process was writing.
        if (_isDamageAnyway)
            EndDamage(toLsn: null);
        Flush();
        foreach (var damage in SmallFiles.FindDamage(disk, directory, volumeId))
            _found.Add(new JournalStretch.Damaged(damage.Place, damage.OffsetBytes, _lastLsn, _lastLsn, damage.Fault) { HoldsRecords = false });
        foreach (var stretch in TakeFound())
            yield return stretch;
    }

    private SegmentBytes ReadAll(long number)
    {
        var path = SegmentFiles.PathOf(directory, number);
        return SegmentBytes.TryRead(disk, path) ?? throw new FileNotFoundException("the segment is gone", path);
    }

    /// <summary>The header of a segment; null when it is damaged or was never used.</summary>
    private SegmentHeader? HeaderOf(long number)
    {
        try
        {
            return SegmentFiles.Header(disk, directory, volumeId, number);
        }
        catch (CorruptionException)
        {
            return null;
        }
    }

    /// <summary>LSN up to which a segment says that the journal is durable.</summary>
    private long MarkedDurable(long number, byte[] bytes)
    {
        var salt = (default(SegmentHeader) with { VolumeId = volumeId, Number = number }).Salt;
        var durable = 0L;
        for (var at = SegmentHeader.Size; at + JournalSlot.Size <= bytes.Length; at += JournalSlot.Size)
            if (bytes[at + JournalSlot.KindOffset] == (byte)SlotKind.Marks
                && JournalSlot.TryRead(bytes.AsSpan(at), salt, out var record) == SlotFault.None)
                durable = Math.Max(durable, record.Length);
        return durable;
    }

    private void ReadHeader(string path, SegmentBytes read, long number, long limit, long stored, bool isFirst)
    {
        var bytes = read.Bytes;
        if (read.IsUnreadable(0))
        {
            Damage(path, 0, SegmentBytes.Fault);
        }
        else if (SegmentHeader.TryRead(bytes, out var fault) is { } header)
        {
            if (header.VolumeId != volumeId || header.Number != number)
            {
                Damage(path, 0, $"it is segment {header.Number} of volume {header.VolumeId}");
                return;
            }

            if (isFirst)
            {
                _lastLsn = header.LastLsn;
                OldestLsn = header.LastLsn + 1;
            }

            var required = Math.Min(header.StoredLsn, stored);
            if (_end is var (before, end) && _lastLsn < required
                && new SegmentHole(before, end, _lastLsn, required).IsDamage(Durable(header, 0)))
                Damage(before, end, SegmentHole.RecordsGone);
            EndDamage(Math.Max(_lastLsn, Math.Min(header.LastLsn, limit)));
            _lastLsn = Math.Max(_lastLsn, Math.Min(header.LastLsn, limit));
        }
        else if (bytes.AsSpan().ContainsAnyExcept((byte)0))
        {
            Damage(path, 0, bytes.AsSpan(0, SegmentHeader.Size).ContainsAnyExcept((byte)0) ? fault : SegmentHole.HeaderGone);
        }
    }

    private void ReadSlots(string path, SegmentBytes read, in SegmentHeader header, long limit, long stored)
    {
        var (salt, bytes) = (header.Salt, read.Bytes);
        var durable = Durable(header, header.DeclaresVoids ? 0 : MarkedDurable(header.Number, bytes));
        var end = (long)SegmentHeader.Size;
        for (var at = SegmentHeader.Size; at + JournalSlot.Size <= bytes.Length; at += JournalSlot.Size)
        {
            var slot = bytes.AsSpan(at, JournalSlot.Size);
            var fault = JournalSlot.TryRead(slot, salt, out var record);
            if (read.IsUnreadable(at))
            {
                Damage(path, at, SegmentBytes.Fault, isAnyway: true);
                end = at + JournalSlot.Size;
            }

            if (fault == SlotFault.Empty)
                continue;
            var given = !header.DeclaresVoids ? _lastLsn : record.IsWrite ? record.Lsn - 1 : record.Lsn;
            var hole = new SegmentHole(path, end, _lastLsn, given, record.Lsn);
            end = at + JournalSlot.Size;
            if (fault != SlotFault.None)
                Damage(path, at, "a damaged record stands before a good one");
            else if (record.Lsn > limit)
                continue;
            else if (record.IsWrite && record.Lsn <= _lastLsn)
                Damage(path, at, $"LSN {record.Lsn} follows LSN {_lastLsn}");
            else
                Take(slot, record, at != hole.OffsetBytes && hole.AfterLsn < stored && hole.IsDamage(durable) ? hole : null);
        }

        _end = (path, end);
    }

    /// <summary>LSN up to which records of a segment, or before it, were durable.</summary>
    private long Durable(in SegmentHeader segment, long marked) => segment switch
    {
        { DeclaresVoids: false } => marked,
        { Durability: JournalDurability.Process } => long.MaxValue,
        _ => _durableLsn,
    };

    /// <summary>What was durable when the journal was closed in order, and is not there any more.</summary>
    private void ReadEnd()
    {
        long stored;
        try
        {
            stored = BootState.Read(disk, directory, bootId: "", mounts: 0).StoredLsn;
        }
        catch (CorruptionException)
        {
            // A journal that says nothing of its end has none.
            return;
        }

        if (_end is not var (path, end) || stored <= _lastLsn)
            return;
        Damage(path, end, SegmentHole.RecordsGone);
        EndDamage(stored);
    }

    private void Take(ReadOnlySpan<byte> slot, in JournalSlot record, SegmentHole? lost)
    {
        if (lost is { } hole)
            Damage(hole.Path, hole.OffsetBytes, SegmentHole.RecordsGone);
        EndDamage(Math.Max(_lastLsn, record.IsWrite ? record.Lsn - 1 : record.Lsn));
        if (record.Kind == SlotKind.Connection)
            _names[record.Connection] = Encoding.UTF8.GetString(JournalSlot.Name(slot, record));
        if (!record.IsWrite)
            return;
        _lastLsn = record.Lsn;
        _writes.Add(new(
            record.Lsn, record.TimeMicroseconds, (WriteKind)record.Kind, record.Offset, record.Length,
            record.Connection));
        if (_writes.Count == WritesMax)
            Flush();
    }

    /// <summary>Something is damaged, as seen first.</summary>
    /// <param name="path">The segment.</param>
    /// <param name="at">Where in it.</param>
    /// <param name="fault">What is wrong, in words.</param>
    /// <param name="isAnyway">Whether it is damage also when nothing follows, as that of a header is.</param>
    private void Damage(string path, long at, string fault, bool isAnyway = false)
    {
        _damage ??= (path, at, fault);
        _isDamageAnyway |= isAnyway || at == 0;
    }

    /// <summary>Something that can be read again says up to which LSN nothing could.</summary>
    private void EndDamage(long? toLsn)
    {
        if (_damage is not var (file, from, fault))
            return;
        Flush();
        _found.Add(new JournalStretch.Damaged(file, from, _lastLsn, toLsn, fault));
        _lastLsn = toLsn ?? _lastLsn;
        _damage = null;
        _isDamageAnyway = false;
    }

    private void Flush()
    {
        if (_writes.Count == 0)
            return;
        _found.Add(new JournalStretch.Whole(_writes.ToArray()));
        _writes.Clear();
    }

    private List<JournalStretch> TakeFound()
    {
        List<JournalStretch> found = [.. _found];
        _found.Clear();
        return found;
    }
}
