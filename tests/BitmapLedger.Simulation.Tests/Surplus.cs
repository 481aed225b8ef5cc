using BitmapLedger.Bitmaps;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// What a recovery may tell although nothing changed, and nothing else: what an earlier one found and the ledger was not
/// told of; writes that no flush has covered, or one that no tidying followed; and regions of the activity log, which
/// leave it when they are clean and were not written to for a while. Durability <c>power</c>.
/// </summary>
internal sealed class Surplus(int sectors, int regionBytes, int regionsMax)
{
    /// <summary>Rounds of tidying after which a region that is clean has left, one more than the product promises.</summary>
    private const int IdleRounds = 31;

    private readonly List<SentWrite> _unsettled = [];
    private readonly Dictionary<long, (long Time, int Round)> _regions = [];
    private readonly Stack<long> _underWay = [];
    private readonly bool[] _untold = new bool[sectors];
    private long _time;
    private long _cleanTime;
    private int _round;
    private bool _wentDown;

    /// <summary>A batch is sent.</summary>
    public void Begin(List<SentWrite> batch)
    {
        _underWay.Push(batch[0].Lsn);
        _unsettled.AddRange(batch);
        Touch(batch);
    }

    /// <summary>It was answered.</summary>
    public void End(List<SentWrite> batch)
    {
        _underWay.Pop();
        Touch(batch);
    }

    /// <summary>What a flush that begins now covers: writes answered before, up to the first one under way.</summary>
    public List<SentWrite> BeginFlush()
    {
        _time++;
        var limit = _underWay.DefaultIfEmpty(long.MaxValue).Min();
        return [.. _unsettled.Where(w => w.IsAcknowledged && w.Lsn < limit)];
    }

    /// <summary>It has succeeded.</summary>
    public void EndFlush(List<SentWrite> covered, long began)
    {
        foreach (var write in covered)
            write.IsCovered = true;
        if (_underWay.Count == 0)
            _cleanTime = began;
    }

    /// <summary>Now, for <see cref="EndFlush"/>.</summary>
    public long Time => _time;

    /// <summary>The volume was tidied, and the disk took all of it.</summary>
    public void Tidied()
    {
        _round++;
        _unsettled.RemoveAll(w => w.IsCovered);
        foreach (var (region, last) in _regions)
            if (last.Time < _cleanTime && _round - last.Round >= IdleRounds)
                _regions.Remove(region);
    }

    /// <summary>A run has ended; what it had in memory is gone.</summary>
    /// <param name="inOrder">Whether everything was durable.</param>
    /// <param name="wentDown">Whether the machine went down too.</param>
    public void EndRun(bool inOrder, bool wentDown)
    {
        _underWay.Clear();
        _wentDown |= wentDown;
        foreach (var write in _unsettled)
            write.IsCovered = false;
        if (!inOrder)
            return;
        _unsettled.Clear();
        _regions.Clear();
    }

    /// <summary>The volume opened; holds what it tells against what it may.</summary>
    public void Open(IReadOnlyList<Extent> recovered)
    {
        Check(recovered);
        // After a power loss the log begins anew; after a mere end of the process its regions stay.
        if (_wentDown)
            _regions.Clear();
        foreach (var region in _regions.Keys.ToList())
            _regions[region] = (_time, _round);
        _wentDown = false;
        foreach (var sector in recovered.SelectMany(Sectors))
            _untold[sector] = true;
    }

    /// <summary>The ledger knows.</summary>
    public void Told() => Array.Clear(_untold);

    /// <summary>The journal was damaged and set aside: until the ledger knows, any block may be told.</summary>
    public void Repair() => Array.Fill(_untold, true);

    private void Check(IReadOnlyList<Extent> recovered)
    {
        var exact = (bool[])_untold.Clone();
        foreach (var write in _unsettled)
            exact.AsSpan(Sector(write.Offset), Sector(write.Length)).Fill(true);
        HashSet<long> regions = [];
        foreach (var sector in recovered.SelectMany(Sectors).Where(s => !exact[s]))
        {
            var region = (long)sector * SimulatedInode.Sector / regionBytes;
            if (!_regions.ContainsKey(region))
                throw new ViolationException($"sector {sector} is told although everything about it was durable");
            regions.Add(region);
        }

        if (regions.Count > regionsMax)
            throw new ViolationException($"{regions.Count} regions are told and the log holds {regionsMax}");
    }

    private void Touch(List<SentWrite> batch)
    {
        _time++;
        foreach (var write in batch)
            for (var region = write.Offset / regionBytes; region * regionBytes < write.Offset + write.Length; region++)
                _regions[region] = (_time, _round);
    }

    private static IEnumerable<int> Sectors(Extent extent) => Enumerable.Range(Sector(extent.Offset), Sector(extent.Length));

    private static int Sector(long bytes) => (int)(bytes / SimulatedInode.Sector);
}
