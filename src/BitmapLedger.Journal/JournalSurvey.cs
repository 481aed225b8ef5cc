using System.Text;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <summary>
/// Reads all of a journal that can still be read, and says what cannot: what <c>bml repair</c> stands on. Records carry
/// a checksum salted with volume and segment, so those behind a damaged place, or behind a damaged header, are as good
/// as those before it. One thread; nobody writes to the journal meanwhile.
/// </summary>
/// <param name="directory">The journal's directory.</param>
/// <param name="volumeId">Whose journal it is.</param>
public sealed class JournalSurvey(string directory, Guid volumeId)
{
    /// <summary>Most writes of one stretch.</summary>
    private const int WritesMax = 16_384;

    private readonly Dictionary<int, string> _names = [];
    private readonly List<JournalStretch> _found = [];
    private readonly List<SingleWrite> _writes = [];
    private (string File, long FromByte, string Fault)? _damage;
    private long _lastLsn;

    /// <summary>Names of the connections met so far.</summary>
    public IReadOnlyDictionary<int, string> Names => _names;

    /// <summary>LSN of the oldest write that the journal may hold, once it is being read: those before it were
    /// freed.</summary>
    public long OldestLsn { get; private set; } = 1;

    /// <summary>Walks the journal from its oldest record on.</summary>
    /// <returns>What it finds, in LSN order; nothing larger than a segment is in memory at once.</returns>
    public IEnumerable<JournalStretch> Read()
    {
        long previous = 0;
        var numbers = SegmentFiles.Numbers(PosixDisk.Instance, directory);
        var rewrites = numbers.ToDictionary(n => n, RewritesAbove);
        foreach (var number in numbers)
        {
            var path = SegmentFiles.PathOf(directory, number);
            var bytes = File.ReadAllBytes(path);
            if (previous > 0 && number != previous + 1)
                Damage(path, 0, $"segment {previous + 1} before it is missing");
            var limit = rewrites.Where(r => r.Key > number).Min(r => r.Value) ?? long.MaxValue;
            ReadHeader(path, bytes, number, limit, isFirst: previous == 0);
            ReadSlots(path, bytes, default(SegmentHeader) with { VolumeId = volumeId, Number = number }, limit);
            previous = number;
            foreach (var stretch in TakeFound())
                yield return stretch;
        }

        // A fault of slots that nothing follows is the batch that a killed process was writing; a header is no such.
        if (_damage is { FromByte: 0 })
            EndDamage(toLsn: null);
        Flush();
        foreach (var stretch in TakeFound())
            yield return stretch;
    }

    /// <summary>LSN above which a segment writes earlier records again; null when it does not.</summary>
    private long? RewritesAbove(long number)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        using var file = PosixDisk.Instance.TryOpen(SegmentFiles.PathOf(directory, number), writable: false);
        var length = file?.Read(sector, 0) ?? 0;
        return SegmentHeader.TryRead(sector[..length], out _) is { Rewrites: true } header && header.VolumeId == volumeId
            ? header.LastLsn
            : null;
    }

    private void ReadHeader(string path, byte[] bytes, long number, long limit, bool isFirst)
    {
        if (SegmentHeader.TryRead(bytes, out var fault) is { } header)
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

            EndDamage(Math.Max(_lastLsn, Math.Min(header.LastLsn, limit)));
            _lastLsn = Math.Max(_lastLsn, Math.Min(header.LastLsn, limit));
        }
        else if (bytes.AsSpan().ContainsAnyExcept((byte)0))
        {
            Damage(path, 0, fault);
        }
    }

    private void ReadSlots(string path, byte[] bytes, in SegmentHeader header, long limit)
    {
        var salt = header.Salt;
        for (var at = SegmentHeader.Size; at + JournalSlot.Size <= bytes.Length; at += JournalSlot.Size)
        {
            var slot = bytes.AsSpan(at, JournalSlot.Size);
            var fault = JournalSlot.TryRead(slot, salt, out var record);
            if (fault == SlotFault.Empty)
                continue;
            if (fault != SlotFault.None)
                Damage(path, at, "a damaged record stands before a good one");
            else if (record.Lsn > limit)
                continue;
            else if (record.IsWrite && record.Lsn <= _lastLsn)
                Damage(path, at, $"LSN {record.Lsn} follows LSN {_lastLsn}");
            else
                Take(slot, record);
        }
    }

    private void Take(ReadOnlySpan<byte> slot, in JournalSlot record)
    {
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

    private void Damage(string path, long at, string fault) => _damage ??= (path, at, fault);

    /// <summary>Something that can be read again says up to which LSN nothing could.</summary>
    private void EndDamage(long? toLsn)
    {
        if (_damage is not var (file, from, fault))
            return;
        Flush();
        _found.Add(new JournalStretch.Damaged(file, from, _lastLsn, toLsn, fault));
        _lastLsn = toLsn ?? _lastLsn;
        _damage = null;
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
