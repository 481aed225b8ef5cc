namespace BitmapLedger.Journal;

/// <summary>
/// Writes records that were never synced again, into new segments. A failed sync is final: the disk may have forgotten
/// them
/// although the file still shows them, so they count only where they are written anew and synced.
/// </summary>
internal sealed class SegmentRewriting(JournalOptions options, Func<long, SegmentHeader> header)
{
    private readonly List<JournalSlot> _writes = [];
    private readonly Dictionary<int, byte[]> _names = [];
    private readonly List<(Segment Segment, SegmentHeader Header)> _made = [];
    private readonly byte[] _bytes = new byte[options.SegmentBytes];
    private int _used;

    /// <summary>Where the last segment ends.</summary>
    public long Position => _used;

    /// <summary>How many of the writes the disk had taken when they were appended.</summary>
    public int Count { get; private set; }

    /// <summary>LSN of the last write that stands in the segments, in those that were there or in the new ones; what is
    /// missing above and below is void.</summary>
    public long StoredLsn { get; private set; }

    /// <summary>Reads what is to be written again, as the files show it.</summary>
    /// <param name="segments">The segments, ascending.</param>
    /// <param name="aboveLsn">Writes up to this LSN are durable where they are.</param>
    /// <param name="isRefused">Whether the disk refused a write, and stored it all the same.</param>
    public void Collect(IReadOnlyList<SegmentHeader> segments, long aboveLsn, Func<long, bool> isRefused)
    {
        foreach (var (segment, limit) in segments.Zip(SegmentFiles.Limits(segments)))
            Account(Math.Min(segment.LastLsn, limit), aboveLsn);
        new SegmentWalk(options.Disk, options.Directory, segments).ReadAll((record, slot) =>
        {
            Account(record.Lsn, aboveLsn);
            if (record.Kind == SlotKind.Connection)
                _names[record.Connection] = JournalSlot.Name(slot.Span, record).ToArray();
            if (!record.IsWrite || record.Lsn <= aboveLsn)
                return;
            _writes.Add(record);
            Count += isRefused(record.Lsn) ? 0 : 1;
        });
    }

    /// <summary>Writes and syncs them. The headers come last and backwards: until the first one is there, a reader
    /// after a crash finds the records where they were.</summary>
    /// <param name="number">Number of the first new segment.</param>
    /// <param name="aboveLsn">LSN that they stand above.</param>
    /// <param name="storedLsn">LSN of a write up to <paramref name="aboveLsn"/> that is known to stand where it was; what
    /// the files show may be more.</param>
    /// <param name="end">Marks that close the last segment: their LSN is the last one given.</param>
    /// <exception cref="IOException">The disk refused; nothing changed.</exception>
    public IReadOnlyList<(Segment Segment, SegmentHeader Header)> Write(
        long number, long aboveLsn, long storedLsn, in JournalSlot end)
    {
        Account(storedLsn, aboveLsn);
        try
        {
            var next = 0;
            do
            {
                Fill(Segment.Prepare(options, number++), next > 0 ? _writes[next - 1].Lsn : aboveLsn, ref next);
            }
            while (next < _writes.Count);

            var (last, lastHead) = _made[^1];
            if (_used + JournalSlot.Size <= options.SegmentBytes)
            {
                Put(end, lastHead, []);
                last.File.Write(_bytes.AsSpan(_used - JournalSlot.Size, JournalSlot.Size), _used - JournalSlot.Size);
            }

            foreach (var (segment, _) in _made)
                segment.File.Sync();
            foreach (var (segment, head) in Enumerable.Reverse(_made))
            {
                segment.WriteHeader(head);
                segment.File.Sync();
            }

            return _made;
        }
        catch
        {
            foreach (var (segment, _) in _made)
                segment.Dispose();
            throw;
        }
    }

    private void Account(long lsn, long aboveLsn) => StoredLsn = lsn <= aboveLsn ? Math.Max(StoredLsn, lsn) : StoredLsn;

    private void Fill(Segment segment, long lastLsn, ref int next)
    {
        var head = header(segment.Number) with { LastLsn = lastLsn, StoredLsn = StoredLsn, Rewrites = true };
        _made.Add((segment, head));
        HashSet<int> named = [];
        _used = SegmentHeader.Size;
        for (; next < _writes.Count && _used + 2 * JournalSlot.Size <= options.SegmentBytes; next++)
        {
            var record = _writes[next];
            if (named.Add(record.Connection) && _names.TryGetValue(record.Connection, out var name))
                Put(
                    new(SlotKind.Connection, record.Lsn - 1, record.TimeMicroseconds, 0, 0, record.Connection), head, name);
            Put(record, head, []);
            StoredLsn = record.Lsn;
        }

        segment.File.Write(_bytes.AsSpan(SegmentHeader.Size, _used - SegmentHeader.Size), SegmentHeader.Size);
    }

    private void Put(in JournalSlot record, in SegmentHeader head, ReadOnlySpan<byte> name)
    {
        record.Write(_bytes.AsSpan(_used), head.Salt, name);
        _used += JournalSlot.Size;
    }
}
