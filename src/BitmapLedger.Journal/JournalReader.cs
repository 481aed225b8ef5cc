using System.Text;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <summary>
/// Reads a journal in LSN order, also while its writer goes on in another process. One thread; never writes.
/// </summary>
/// <param name="directory">The journal's directory.</param>
/// <param name="volumeId">Whose journal it is.</param>
/// <param name="disk">Where it is.</param>
public sealed class JournalReader(string directory, Guid volumeId, IJournalDisk disk) : IDisposable
{
    private const int ChunkBytes = 1 << 20;

    /// <summary>Whoever reads on mostly finds little: a thousand records show whether there is more.</summary>
    private const int FirstBytes = 64 << 10;

    private readonly byte[] _chunk = new byte[ChunkBytes];
    private readonly Dictionary<int, string> _names = [];
    private IJournalFile? _file;
    private SegmentHeader _segment;
    private long _position;
    private long _lastLsn = -1;

    /// <summary>LSN up to which every write was read, or is void.</summary>
    private long _accountedLsn;

    /// <summary>Reads a journal on the machine's file systems.</summary>
    /// <param name="directory">The journal's directory.</param>
    /// <param name="volumeId">Whose journal it is.</param>
    public JournalReader(string directory, Guid volumeId)
        : this(directory, volumeId, PosixDisk.Instance)
    {
    }

    /// <summary>Names of the connections, as far as they were met.</summary>
    public IReadOnlyDictionary<int, string> Names => _names;

    /// <summary>LSN of the oldest write that can be read; 1 when there is no journal.</summary>
    public long OldestLsn()
    {
        var headers = SegmentFiles.Headers(disk, directory, volumeId);
        return headers.Count == 0 ? 1 : headers[0].LastLsn + 1;
    }

    /// <summary>Reads writes above an LSN, as far as they are there now.</summary>
    /// <param name="afterLsn">The last LSN that the caller has; reading on from the last call costs no search.</param>
    /// <param name="target">Receives them, ascending. A gap between LSNs is a void: it never reached the
    /// backend.</param>
    /// <returns>How many; 0 when there is nothing newer yet.</returns>
    /// <exception cref="CorruptionException">A record before a good one is damaged, records are gone that were durable, or a
    /// place cannot be read.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public int Read(long afterLsn, Span<SingleWrite> target)
    {
        if (_file is null || afterLsn != _lastLsn)
            Seek(afterLsn);
        var count = 0;
        for (var bytes = FirstBytes; _file is not null && count < target.Length; bytes = ChunkBytes)
        {
            var read = ReadAt(_chunk.AsSpan(0, bytes), _position) / JournalSlot.Size * JournalSlot.Size;
            var stopped = Decode(_chunk.AsSpan(0, read), target, ref count);
            if (stopped && !TryPassHole())
                break;
            if (!stopped && read == 0 && !(NextInUse() is { } next && TryGoOn(next)))
                break;
        }

        return count;
    }

    /// <inheritdoc />
    public void Dispose() => _file?.Dispose();

    private void Seek(long afterLsn)
    {
        _file?.Dispose();
        _file = null;
        (_lastLsn, _accountedLsn) = (afterLsn, afterLsn);
        var headers = SegmentFiles.Headers(disk, directory, volumeId);
        var start = headers.FindLastIndex(h => h.LastLsn <= afterLsn);
        foreach (var header in headers.Skip(Math.Max(start, 0)))
            if (TryOpen(header.Number))
                return;
    }

    /// <summary>False when the segment is not there, or not in use yet.</summary>
    private bool TryOpen(long number)
    {
        if (disk.TryOpen(SegmentFiles.PathOf(directory, number), writable: false) is not { } file)
            return false;
        int length;
        try
        {
            length = ReadAt(file, number, _chunk.AsSpan(0, SegmentHeader.Size), 0);
        }
        catch
        {
            file.Dispose();
            throw;
        }

        if (SegmentHeader.TryRead(_chunk.AsSpan(0, length), out _) is not { } header)
        {
            file.Dispose();
            return false;
        }

        _file?.Dispose();
        _file = file;
        _segment = header;
        _position = SegmentHeader.Size;
        _accountedLsn = Math.Max(_accountedLsn, Math.Min(header.LastLsn, WrittenAgainAbove()));
        return true;
    }

    /// <summary>Decodes until the target is full, the chunk ends (false), or a slot holds no record (true).</summary>
    private bool Decode(ReadOnlySpan<byte> chunk, Span<SingleWrite> target, ref int count)
    {
        var salt = _segment.Salt;
        for (; chunk.Length >= JournalSlot.Size && count < target.Length; chunk = chunk[JournalSlot.Size..])
        {
            if (JournalSlot.TryRead(chunk, salt, out var record) != SlotFault.None)
                return true;
            _position += JournalSlot.Size;
            _accountedLsn = Math.Max(_accountedLsn, record.Lsn);
            if (record.Kind == SlotKind.Connection)
                _names[record.Connection] = Encoding.UTF8.GetString(JournalSlot.Name(chunk, record));
            if (!record.IsWrite || record.Lsn <= _lastLsn)
                continue;
            _lastLsn = record.Lsn;
            target[count++] = new(
                record.Lsn, record.TimeMicroseconds, (
                    WriteKind)record.Kind, record.Offset, record.Length, record.Connection);
        }

        return false;
    }

    /// <summary>
    /// Stands before a slot that held no record at the first look. The writer fills slots in order and starts a segment
    /// anew where it had to leave a hole, so an empty slot is the end for now unless the next segment is in use.
    /// </summary>
    /// <returns>False when the journal ends here for now.</returns>
    private bool TryPassHole()
    {
        var following = NextInUse();
        var fault = Fault(_position);
        if (fault == SlotFault.None)
            return true;
        if (fault == SlotFault.Empty && following is null)
            return false;
        if (following is { Rewrites: true } again && again.LastLsn <= _accountedLsn)
            return TryOpen(again.Number);

        var hole = HoleAt(_position, out var next);
        if (hole is null || next > WrittenAgainAbove())
            return following is { } behind && TryGoOn(behind);
        // A record behind it: what was being written at the second look is there at the third.
        fault = Fault(_position);
        if (fault is not (SlotFault.None or SlotFault.Empty))
            throw new CorruptionException(hole.Path, _position, "a damaged record stands before a good one");
        if (fault == SlotFault.None)
            return true;
        if (!IsVoid(hole, _segment, [.. Later()]))
            return false;
        _position = hole.EndBytes;
        return true;
    }

    /// <summary>Goes on in a later segment, unless records are missing before it.</summary>
    /// <returns>False when the journal ends here for now.</returns>
    private bool TryGoOn(in SegmentHeader next)
    {
        var number = next.Number;
        SegmentHeader[] behind = [.. Later().Where(h => h.Number >= number)];
        var hole = new SegmentHole(PathOf(_segment.Number), _position, _accountedLsn, SegmentFiles.StoredBefore(behind)[0]);
        return (hole.AfterLsn >= hole.GivenLsn || IsVoid(hole, next, behind)) && TryOpen(number);
    }

    /// <summary>Whether what is missing was declared void.</summary>
    /// <param name="hole">Where it is missing.</param>
    /// <param name="segment">The segment that the hole is in or before.</param>
    /// <param name="later">Segments behind the hole, ascending.</param>
    /// <returns>False when that is not known yet: a sync may have failed, and what it was for is being written again.</returns>
    /// <exception cref="CorruptionException">It was durable.</exception>
    private bool IsVoid(SegmentHole hole, in SegmentHeader segment, SegmentHeader[] later)
    {
        if (!segment.DeclaresVoids || hole.AfterLsn >= SegmentFiles.StoredBefore(later)[0])
            return true;
        var durable = segment.Durability == JournalDurability.Process ? long.MaxValue : MarkedDurable(later[^1]);
        return hole.IsDamage(durable)
            ? throw hole.ToException()
            : false;
    }

    /// <summary>LSN up to which the journal calls itself durable: a header knows all marks before it, so the last segment
    /// knows all.</summary>
    private long MarkedDurable(in SegmentHeader last)
    {
        var durable = last.Marks.JournalLsn;
        using var file = disk.TryOpen(PathOf(last.Number), writable: false);
        if (file is null)
            return durable;
        for (var at = (long)SegmentHeader.Size; ReadAt(file, last.Number, _chunk, at) is var read and >= JournalSlot.Size; at += read)
            for (var i = 0; i + JournalSlot.Size <= read; i += JournalSlot.Size)
                if (JournalSlot.TryRead(_chunk.AsSpan(i), last.Salt, out var record) == SlotFault.None
                    && record.Kind == SlotKind.Marks)
                    durable = Math.Max(durable, record.Length);
        return durable;
    }

    private string PathOf(long number) => SegmentFiles.PathOf(directory, number);

    private int ReadAt(Span<byte> target, long position) => ReadAt(_file!, _segment.Number, target, position);

    private int ReadAt(IJournalFile file, long number, Span<byte> target, long position) =>
        SegmentBytes.ReadBefore(disk, PathOf(number), file, target, position);

    private SlotFault Fault(long position)
    {
        Span<byte> slot = stackalloc byte[JournalSlot.Size];
        return ReadAt(slot, position) < slot.Length
            ? SlotFault.Empty
            : JournalSlot.TryRead(slot, _segment.Salt, out _);
    }

    /// <summary>The slots from a place on to the next record; null when there is none.</summary>
    /// <param name="position">Where to begin.</param>
    /// <param name="lsn">LSN of the next write; of the next record when no write follows.</param>
    private SegmentHole? HoleAt(long position, out long lsn)
    {
        var salt = _segment.Salt;
        SegmentHole? hole = null;
        lsn = 0;
        for (var at = position; ReadAt(_chunk, at) is var read && read >= JournalSlot.Size; at += read)
        {
            read = read / JournalSlot.Size * JournalSlot.Size;
            for (var i = 0; i < read; i += JournalSlot.Size)
            {
                if (JournalSlot.TryRead(_chunk.AsSpan(i), salt, out var record) != SlotFault.None)
                    continue;
                hole ??= new(PathOf(_segment.Number), position, _accountedLsn, record.IsWrite ? record.Lsn - 1 : record.Lsn)
                {
                    EndBytes = at + i,
                };
                lsn = record.Lsn;
                if (record.IsWrite)
                    return hole with { NextWriteLsn = lsn };
            }
        }

        return hole;
    }

    /// <summary>Headers of the later segments in use, ascending.</summary>
    private IEnumerable<SegmentHeader> Later()
    {
        foreach (var number in SegmentFiles.Numbers(disk, directory).Where(n => n > _segment.Number))
            if (SegmentFiles.Header(disk, directory, volumeId, number) is { } header)
                yield return header;
    }

    /// <summary>LSN above which records of this segment do not count, since a later one has them again.</summary>
    private long WrittenAgainAbove() =>
        Later().Where(h => h.Rewrites).Select(h => h.LastLsn).DefaultIfEmpty(long.MaxValue).Min();

    /// <summary>
    /// The segment to go on in; numbers of segments that a crash left unused are passed over. What was written again counts
    /// where it was written last: where it was first, the disk may have forgotten some of it.
    /// </summary>
    private SegmentHeader? NextInUse()
    {
        SegmentHeader? next = null;
        foreach (var header in Later())
            if (next is null || (header.Rewrites && header.LastLsn <= _accountedLsn))
                next = header;
        return next;
    }
}
