namespace BitmapLedger.Journal;

/// <summary>
/// The segments of a journal as its writer sees them: the current one, one prepared ahead, and the older ones that
/// still
/// hold what PostgreSQL has not got. The caller holds the journal's lock.
/// </summary>
internal sealed class SegmentChain : IDisposable
{
    private readonly JournalOptions _options;
    private readonly Func<long, SegmentHeader> _header;
    private readonly Queue<SegmentHeader> _older = new();
    private readonly int _slotsPerSegment;
    private long _slotsMax;
    private Segment _current;
    private SegmentHeader _currentHeader;
    private SegmentPreparation? _next;
    private long _position;
    private long _reserved;

    public SegmentChain(JournalOptions options, JournalRecovery found, Func<long, SegmentHeader> header)
    {
        _options = options;
        _header = header;
        _slotsPerSegment = (options.SegmentBytes - SegmentHeader.Size) / JournalSlot.Size;
        SetQuota(options.QuotaBytes);
        foreach (var segment in found.Segments.SkipLast(1))
            _older.Enqueue(segment);
        if (found.Segments.Count > 0)
        {
            _currentHeader = found.Segments[^1];
            _current = Segment.Continue(options.Directory, _currentHeader.Number);
            _position = found.HasHole ? options.SegmentBytes : found.EndBytes;
            Salt = _currentHeader.Salt;
        }
        else
        {
            _current = Segment.Prepare(options.Directory, 1, options.SegmentBytes);
            Begin(_current);
        }

        PrepareNext();
    }

    public long Number => _current.Number;

    public uint Salt { get; private set; }

    public int RoomInSlots => (int)((_options.SegmentBytes - _position) / JournalSlot.Size);

    public long OldestLsn => (_older.TryPeek(out var oldest) ? oldest : _currentHeader).LastLsn + 1;

    public long UsedBytes => ((long)_older.Count * _slotsPerSegment * JournalSlot.Size) + _position - SegmentHeader.Size;

    public long QuotaBytes => _slotsMax * JournalSlot.Size;

    /// <summary>Whether a reservation was refused and nothing has been freed since.</summary>
    public bool IsFull { get; private set; }

    public long BytesOnDisk => (_older.Count + 1L) * _options.SegmentBytes;

    /// <summary>Sets slots aside within the quota; a rollover may waste a slot, which each reservation allows
    /// for.</summary>
    public bool TryReserve(int slots)
    {
        if (UsedBytes / JournalSlot.Size + _reserved + slots > _slotsMax)
        {
            IsFull = true;
            return false;
        }

        _reserved += slots;
        return true;
    }

    /// <summary>Whole segments, two at the least.</summary>
    public void SetQuota(long bytes)
    {
        _slotsMax = Math.Max(2, bytes / _options.SegmentBytes) * _slotsPerSegment;
        IsFull = false;
    }

    /// <summary>Time at which the segment of an LSN was begun, microseconds since the Unix epoch.</summary>
    public long SegmentTime(long lsn)
    {
        var time = (_older.TryPeek(out var first) ? first : _currentHeader).TimeMicroseconds;
        foreach (var header in _older.Append(_currentHeader).TakeWhile(h => h.LastLsn < lsn))
            time = header.TimeMicroseconds;
        return time;
    }

    public void Unreserve(int slots) => _reserved -= slots;

    /// <summary>Goes on in the next segment; false when the disk has no room for one, and then nothing changed.</summary>
    public bool TryNext()
    {
        try
        {
            Next();
            return true;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Goes on in the next segment.</summary>
    /// <exception cref="IOException">The disk has no room for one.</exception>
    public void Next()
    {
        var prepared = _next?.Take();
        _next = null;
        var next = prepared ?? Segment.Prepare(_options.Directory, _current.Number + 1, _options.SegmentBytes);
        var (before, current) = (_currentHeader, _current);
        try
        {
            Begin(next);
        }
        catch
        {
            next.Dispose();
            throw;
        }

        _older.Enqueue(before);
        current.Dispose();
        PrepareNext();
    }

    /// <summary>
    /// Stores slots behind the last ones. Where the disk refused nothing is written again: the journal goes on in
    /// the next
    /// segment, so that a reader knows the end of this one from a batch under way.
    /// </summary>
    public bool TryWrite(ReadOnlySpan<byte> slots)
    {
        try
        {
            Write(slots);
            return true;
        }
        catch (IOException)
        {
            _position = _options.SegmentBytes;
            return false;
        }
    }

    public void Write(ReadOnlySpan<byte> slots)
    {
        RandomAccess.Write(_current.File, slots, _position);
        _position += slots.Length;
    }

    /// <summary>Deletes the segments that hold nothing above <paramref name="lsn"/>; true when there was one.</summary>
    public bool Release(long lsn)
    {
        var any = false;
        while (_older.Count > 0 && (_older.Count > 1 ? _older.ElementAt(1) : _currentHeader).LastLsn <= lsn)
        {
            File.Delete(SegmentFiles.PathOf(_options.Directory, _older.Dequeue().Number));
            any = true;
        }

        return any;
    }

    public void Dispose()
    {
        var prepared = _next?.Take();
        prepared?.Dispose();
        if (prepared is not null)
            File.Delete(prepared.Path);
        _current.Dispose();
    }

    private void Begin(Segment segment)
    {
        var header = _header(segment.Number);
        segment.WriteHeader(header);
        (_current, _currentHeader, _position) = (segment, header, SegmentHeader.Size);
        Salt = header.Salt;
    }

    private void PrepareNext() => _next = new(_options.Directory, _current.Number + 1, _options.SegmentBytes);
}
