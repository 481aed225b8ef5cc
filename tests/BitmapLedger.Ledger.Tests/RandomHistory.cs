using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>
/// A stream of events made at random and appended as the shipper appends, and beside it the same events in a list: what
/// every answer is compared with.
/// </summary>
internal sealed class RandomHistory(TestLedger ledger, int seed)
{
    private readonly Random _random = new(seed);
    private readonly List<IVolumeEvent> _events = [new VolumeCreated("v", TestLedger.Size, "file:/v", "/v", false, "process", "stall", 0)];
    private readonly List<string> _fine = [];
    private long _size = TestLedger.Size;
    private long _lsn;
    private long _time = 1_750_000_000_000_000;

    /// <summary>Number of the last event.</summary>
    public long Count => _events.Count;

    /// <summary>LSN of the last write.</summary>
    public long LastLsn => _lsn;

    /// <summary>Appends events of every kind that the tree has to do with.</summary>
    public async Task AppendAsync(int count)
    {
        for (var left = count; left > 0;)
        {
            var expected = _events.Count;
            TimedEvent[] page = [.. Enumerable.Range(0, Math.Min(left, _random.Next(1, 60))).Select(_ => Next())];
            await ledger.Streams.AppendAsync([new(ledger.VolumeId, expected, page)], null, null, CancellationToken.None);
            left -= page.Length;
        }
    }

    /// <summary>Somewhere in the history; inside an event of writes as a rule.</summary>
    public Position Position()
    {
        var number = _random.NextInt64(1, Count + 1);
        return _events[(int)number - 1] switch
        {
            WritesRecorded { Packed: var packed } => new(number, _random.NextInt64(packed.FirstLsn, packed.LastLsn + 1), default),
            ICommandEvent command => new(number, command.AtLsn, default),
            _ => throw new InvalidOperationException("an event of no kind"),
        };
    }

    /// <summary>Behind all of an event.</summary>
    public Position Behind(long number) => _events[(int)number - 1] switch
    {
        WritesRecorded { Packed: var packed } => new(number, packed.LastLsn, default),
        ICommandEvent command => new(number, command.AtLsn, default),
        _ => new(number, 0, default),
    };

    /// <summary>Two of them in order.</summary>
    public (Position From, Position To) Range()
    {
        var (a, b) = (Position(), Position());
        return (a.Event, a.Lsn).CompareTo((b.Event, b.Lsn)) <= 0 ? (a, b) : (b, a);
    }

    /// <summary>Size of the volume behind an event.</summary>
    public long SizeAt(long number) =>
        _events.Take((int)number).OfType<VolumeResized>().LastOrDefault()?.Size ?? TestLedger.Size;

    /// <summary>What changed, folded from the first event.</summary>
    public ChangeFold Fold(Granularity granularity, Position from, Position to)
    {
        var fold = new ChangeFold(SizeAt(to.Event), granularity, from, to);
        for (var number = 1; number <= to.Event; number++)
            fold.Apply(_events[number - 1], number);
        return fold;
    }

    /// <summary>LSNs of the writes that touched some bytes, newest first.</summary>
    public List<long> Touching(long offset, long end, Position from, Position to)
    {
        List<long> lsns = [];
        foreach (var happened in _events)
            if (happened is WritesRecorded writes)
                foreach (var write in writes.Packed)
                    if (write.Offset < end && write.End > offset && write.Lsn > from.Lsn && write.Lsn <= to.Lsn)
                        lsns.Add(write.Lsn);
        lsns.Reverse();
        return lsns;
    }

    private TimedEvent Next()
    {
        var happened = _random.Next(100) switch
        {
            0 => new TrackingLost(_lsn, _lsn, $"why {_events.Count}", _lsn),
            1 => new WritesRecovered([new(_random.NextInt64(_size - 70_000), 65_536)], _lsn),
            2 => Resized(),
            < 6 => new CheckpointCreated($"c{_events.Count}", ["v"], _lsn),
            < 9 => Fine(),
            _ => Writes(),
        };
        _events.Add(happened);
        return new(happened, Contracts.Points.Timestamps.FromMicroseconds(_time));
    }

    /// <summary>To any sector, so that it ends in the middle of blocks.</summary>
    private VolumeResized Resized()
    {
        var before = _size;
        _size = 512 * _random.NextInt64(TestLedger.Size / 1024, TestLedger.Size / 256);
        return new(before, _size, _lsn);
    }

    /// <summary>Bitmaps of finer and finer granularity come and go: nodes have to do with each.</summary>
    private IVolumeEvent Fine()
    {
        if (_fine.Count > 0 && _random.Next(2) == 0)
        {
            var name = _fine[^1];
            _fine.Remove(name);
            return new BitmapRemoved(name, "command", _lsn);
        }

        _fine.Add($"b{_events.Count}");
        return new BitmapAdded(_fine[^1], 512L << _random.Next(0, 10), false, true, _lsn);
    }

    private WritesRecorded Writes()
    {
        var first = _lsn + 1;
        var skipped = _random.Next(10) == 0 ? 1 : 0;
        var writes = Enumerable.Range(0, _random.Next(1, 30)).Select(i => new SingleWrite(
            first + skipped + i, _time += _random.Next(1000), WriteKind.Write, 512 * _random.NextInt64(_size / 512 - 20),
            512 * _random.NextInt64(1, 20), 1)).ToArray();
        _lsn = writes[^1].Lsn;
        _ = PackedWrites.TryRead(
            PackedWrites.Encode(writes, [], skipped > 0 ? [new(first, first)] : []), out var packed);
        return new(packed!);
    }
}
