namespace BitmapLedger.Journal;

/// <summary>
/// The segments of a journal as its writer sees them: the current one, one prepared ahead, and the older ones that
/// still
/// hold what PostgreSQL has not got. The caller holds the journal's lock.
/// </summary>
internal sealed class SegmentChain : IDisposable
{
    /// <summary>Errno of a full disk, and of a user's quota that is used up: an <see cref="IOException"/> of a system
    /// call carries it.</summary>
    private const int NoSpace = 28, NoQuota = 122;

    private readonly JournalOptions _options;
    private readonly Func<long, SegmentHeader> _header;
    private readonly Queue<SegmentHeader> _older = new();
    private readonly List<Segment> _unsynced = [];
    private readonly int _slotsPerSegment;
    private long _slotsMax;
    private Segment _current;
    private SegmentHeader _currentHeader;
    private SegmentPreparation? _next;
    private long _position;
    private long _reserved;
    private long _durableHeaders;

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
            _current = Segment.Continue(options, _currentHeader.Number);
            _position = found.IsSealed ? options.SegmentBytes : found.EndBytes;
            Salt = _currentHeader.Salt;
        }
        else
        {
            _current = Segment.Prepare(options, SegmentFiles.Numbers(options.Disk, options.Directory).LastOrDefault() + 1);
            Begin(_current);
            // From here on there is a journal, whatever the first writes come to.
            if (options.Durability == JournalDurability.Power)
                _current.File.Sync();
        }

        _durableHeaders = _current.Number;
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

    /// <summary>Whether the last <see cref="TryNext"/> failed for want of room on the disk.</summary>
    public bool IsDiskFull { get; private set; }

    public long BytesOnDisk => (_older.Count + 1L) * _options.SegmentBytes;

    /// <summary>How often something was written, or might have been: while it stays there is nothing new to
    /// sync.</summary>
    public long Changes { get; private set; }

    /// <summary>Headers of all segments in use, ascending.</summary>
    public IReadOnlyList<SegmentHeader> Headers => [.. _older, _currentHeader];

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

    /// <summary>Whether the segment that is prepared will be needed for what is reserved and some more slots.</summary>
    public bool IsShort(int slots) => _reserved + slots > RoomInSlots;

    /// <summary>The preparation of the next segment; null when nothing is prepared ahead.</summary>
    public SegmentPreparation? Preparation => _next;

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
            IsDiskFull = refusal.HResult is NoSpace or NoQuota;
            return false;
        }
    }

    /// <summary>Goes on in the next segment.</summary>
    /// <exception cref="IOException">The disk has no room for one.</exception>
    public void Next()
    {
        var prepared = _next?.Take();
        _next = null;
        var next = prepared ?? Segment.Prepare(_options, _current.Number + 1);
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
        Leave(current);
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
        Changes++;
        _current.File.Write(slots, _position);
        _position += slots.Length;
    }

    /// <summary>The oldest segment, if it holds nothing above <paramref name="lsn"/>. Under durability <c>power</c> the
    /// header behind it must be durable: it says where the journal begins then.</summary>
    public SegmentHeader? Oldest(long lsn)
    {
        if (_older.Count == 0)
            return null;
        var next = _older.Count > 1 ? _older.ElementAt(1) : _currentHeader;
        var isKnown = _options.Durability == JournalDurability.Process || next.Number <= _durableHeaders;
        return isKnown && next.LastLsn <= lsn ? _older.Peek() : null;
    }

    /// <summary>The oldest segment is deleted.</summary>
    public void DropOldest()
    {
        _older.Dequeue();
        IsFull = false;
    }

    /// <summary>Adds every segment that may hold what is not synced, oldest first.</summary>
    public void Unsynced(List<Segment> target)
    {
        target.AddRange(_unsynced);
        target.Add(_current);
    }

    /// <summary>These segments were synced after they had got their last record, but for the current one.</summary>
    public void Synced(List<Segment> segments)
    {
        _durableHeaders = Math.Max(_durableHeaders, segments[^1].Number);
        foreach (var segment in segments)
            if (!ReferenceEquals(segment, _current) && _unsynced.Remove(segment))
                segment.Dispose();
    }

    /// <summary>Goes on in segments that were written elsewhere and replace what was not synced.</summary>
    public void Continue(IReadOnlyList<(Segment Segment, SegmentHeader Header)> rewritten, long position)
    {
        _older.Enqueue(_currentHeader);
        _current.Dispose();
        foreach (var segment in _unsynced)
            segment.Dispose();
        _unsynced.Clear();
        foreach (var (segment, header) in rewritten.SkipLast(1))
        {
            _older.Enqueue(header);
            segment.Dispose();
        }

        (_current, _currentHeader) = rewritten[^1];
        _position = position;
        _durableHeaders = _current.Number;
        Salt = _currentHeader.Salt;
        PrepareNext();
    }

    /// <summary>Gives up the segment that was prepared ahead: its number is needed.</summary>
    public void ForgetNext()
    {
        var prepared = _next?.Take();
        _next = null;
        prepared?.Dispose();
        if (prepared is not null)
            _options.Disk.Delete(prepared.Path);
    }

    public void Dispose()
    {
        ForgetNext();
        foreach (var segment in _unsynced)
            segment.Dispose();
        _current.Dispose();
    }

    private void Begin(Segment segment)
    {
        var header = _header(segment.Number);
        Changes++;
        segment.WriteHeader(header);
        (_current, _currentHeader, _position) = (segment, header, SegmentHeader.Size);
        Salt = header.Salt;
    }

    private void Leave(Segment segment)
    {
        if (_options.Durability == JournalDurability.Power)
            _unsynced.Add(segment);
        else
            segment.Dispose();
    }

    private void PrepareNext() => _next = _options.PreparesAhead ? new(_options, _current.Number + 1) : null;
}
