using System.Numerics;

namespace BitmapLedger.Journal;

/// <summary>
/// Which regions of a volume may hold what the disk has not got: a region stands durably in the log before the data
/// of a write
/// to it goes out, and leaves only when journal and data are durable. So a working set pays one sync, and a power
/// loss marks no
/// more than the log can hold. Any number of threads; a batch allocates nothing.
/// </summary>
internal sealed class ActivityLog : IDisposable
{
    /// <summary>Rounds of <see cref="Tidy"/> that a region stays after its last write: what pauses briefly does not
    /// pay again.</summary>
    private const int IdleRounds = 30;

    private readonly Lock _lock = new();
    private readonly Dictionary<long, int> _places;
    private readonly Place[] _table;
    private readonly long[] _regions;
    private readonly int _shift;
    private readonly uint _salt;
    private readonly byte[] _image;
    private readonly IJournalFile _file;
    private readonly GroupCommit _commit;
    private long _changes;
    private long _durableChanges;
    private long _clean;
    private int _round;
    private int _hand;
    private int _dirtyFirst = int.MaxValue;
    private int _dirtyLast = -1;
    private bool _broken;

    private ActivityLog(JournalOptions options, byte[] image, IJournalFile file)
    {
        _table = new Place[options.RegionsMax];
        _regions = new long[options.RegionsMax];
        _places = new(options.RegionsMax);
        _shift = BitOperations.Log2((ulong)options.RegionBytes);
        _salt = ActivityFile.Salt(options.VolumeId);
        _image = image;
        _file = file;
        _commit = new(Commit);
    }

    /// <summary>Regions that stand in the log now.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
                return _places.Count;
        }
    }

    /// <summary>
    /// Makes the log anew, durably. Regions that a killed process left stay until all is durable that was written up
    /// to an LSN.
    /// </summary>
    public static ActivityLog Open(JournalOptions options, IEnumerable<Bitmaps.Extent> active, long lastLsn)
    {
        var image = GC.AllocateArray<byte>(ActivityFile.Length(options.RegionsMax), pinned: true);
        var regions = active.Select(e => e.Offset / options.RegionBytes).Distinct().Take(options.RegionsMax).ToArray();
        ActivityFile.WriteHeader(image, options.VolumeId, options.RegionBytes, options.RegionsMax);
        for (var sector = 0; sector < ActivityFile.Sectors(options.RegionsMax); sector++)
        {
            var part = regions.Skip(sector * ActivityFile.RegionsPerSector).Take(ActivityFile.RegionsPerSector);
            ActivityFile.WriteRegions(
                image.AsSpan((sector + 1) * ActivityFile.SectorBytes), [.. part.Select(r => r + 1)],
                ActivityFile.Salt(options.VolumeId));
        }

        var file = WholeFile.Replace(options.Disk, ActivityFile.PathIn(options.Directory), image);
        var log = new ActivityLog(options, image, file);
        for (var i = 0; i < regions.Length; i++)
        {
            log._regions[i] = regions[i] + 1;
            log._table[i] = new() { LastLsn = lastLsn };
            log._places[regions[i]] = i;
        }

        return log;
    }

    /// <summary>Puts the regions of some writes into the log and keeps them there until <see cref="Leave"/>.</summary>
    /// <returns>False when there is no room, or the disk refused: then nothing is kept, and the records of these
    /// writes must be durable before their data goes out.</returns>
    public bool TryEnter(ReadOnlySpan<WriteRequest> writes)
    {
        long needed = 0;
        lock (_lock)
        {
            for (var i = 0; i < writes.Length; i++)
            {
                if (!_broken && TryEnter(writes[i], ref needed))
                    continue;
                Leave(writes[..i], 0);
                return false;
            }
        }

        while (Volatile.Read(ref _durableChanges) < needed)
        {
            if (_commit.Run())
                continue;
            lock (_lock)
                Leave(writes, 0);
            return false;
        }

        return true;
    }

    /// <summary>Some writes have ended.</summary>
    /// <param name="writes">The same that entered.</param>
    /// <param name="lastLsn">LSN of the last of them; 0 when they got none.</param>
    public void Leave(ReadOnlySpan<WriteRequest> writes, long lastLsn)
    {
        lock (_lock)
        {
            foreach (ref readonly var write in writes)
            {
                var last = (write.Offset + write.Length - 1) >> _shift;
                for (var region = write.Offset >> _shift; region <= last; region++)
                {
                    ref var place = ref _table[_places[region]];
                    place.Users--;
                    place.LastLsn = Math.Max(place.LastLsn, lastLsn);
                    place.Round = _round;
                }
            }
        }
    }

    /// <summary>Journal and data are durable up to an LSN.</summary>
    public void Clean(long lsn)
    {
        lock (_lock)
            _clean = Math.Max(_clean, lsn);
    }

    /// <summary>Takes regions out that nothing was written to for a while. Called about once a second.</summary>
    /// <returns>Whether a region would go, were journal and data durable.</returns>
    public bool Tidy()
    {
        var waiting = false;
        var changed = false;
        lock (_lock)
        {
            _round++;
            for (var i = 0; i < _table.Length && !_broken; i++)
            {
                if (_regions[i] == 0 || _table[i].Users > 0 || _round - _table[i].Round < IdleRounds)
                    continue;
                if (_table[i].LastLsn > _clean)
                {
                    waiting = true;
                    continue;
                }

                _places.Remove(_regions[i] - 1);
                Change(i, 0);
                changed = true;
            }
        }

        if (changed)
            _ = _commit.Run();
        return waiting;
    }

    public void Dispose() => _file.Dispose();

    private bool TryEnter(in WriteRequest write, ref long needed)
    {
        var first = write.Offset >> _shift;
        var last = (write.Offset + write.Length - 1) >> _shift;
        for (var region = first; region <= last; region++)
        {
            if (!_places.TryGetValue(region, out var index) && (index = TakePlace(region)) < 0)
            {
                for (var back = first; back < region; back++)
                    _table[_places[back]].Users--;
                return false;
            }

            _table[index].Users++;
            _table[index].Round = _round;
            needed = Math.Max(needed, _table[index].Change);
        }

        return true;
    }

    /// <summary>A place for a region that has none: a free one, or that of a region that is clean and was not written
    /// to since the hand passed it last; -1 when there is none.</summary>
    private int TakePlace(long region)
    {
        for (var step = 0; step < 2 * _table.Length; step++)
        {
            var index = _hand = (_hand + 1) % _table.Length;
            ref var place = ref _table[index];
            if (_regions[index] != 0)
            {
                if (place.Users > 0 || place.LastLsn > _clean)
                    continue;
                if (place.Round == _round && step < _table.Length)
                    continue;
                _places.Remove(_regions[index] - 1);
            }

            Change(index, region + 1);
            place = new() { Change = _changes };
            _places[region] = index;
            return index;
        }

        return -1;
    }

    private void Change(int index, long value)
    {
        _regions[index] = value;
        _changes++;
        var sector = index / ActivityFile.RegionsPerSector;
        _dirtyFirst = Math.Min(_dirtyFirst, sector);
        _dirtyLast = Math.Max(_dirtyLast, sector);
    }

    private bool Commit()
    {
        long changes;
        int first, last;
        lock (_lock)
        {
            if (_broken)
                return false;
            (changes, first, last) = (_changes, _dirtyFirst, _dirtyLast);
            (_dirtyFirst, _dirtyLast) = (int.MaxValue, -1);
            for (var sector = first; sector <= last; sector++)
            {
                var at = sector * ActivityFile.RegionsPerSector;
                var count = Math.Min(ActivityFile.RegionsPerSector, _regions.Length - at);
                ActivityFile.WriteRegions(
                    _image.AsSpan((sector + 1) * ActivityFile.SectorBytes), _regions.AsSpan(at, count), _salt);
            }
        }

        try
        {
            if (first <= last)
            {
                var at = (first + 1) * ActivityFile.SectorBytes;
                _file.Write(_image.AsSpan(at, (last - first + 1) * ActivityFile.SectorBytes), at);
                _file.Sync();
            }
        }
        catch (IOException)
        {
            // What the disk has now is the old or the new of each sector, and it is not asked again: from here on
            // each record is made durable before its data.
            lock (_lock)
                _broken = true;
            return false;
        }

        Volatile.Write(ref _durableChanges, changes);
        return true;
    }

    private struct Place
    {
        public long LastLsn;
        public long Change;
        public int Users;
        public int Round;
    }
}
