namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// What is true whatever the product thinks: which writes were sent and answered, and when what a client could read at
/// each place changed. Held against the ledger after every recovery.
/// </summary>
internal sealed class Model(int sectors)
{
    private readonly Dictionary<long, List<SentWrite>> _byLsn = [];
    private readonly List<SentWrite> _open = [];
    private readonly long[] _seen = new long[sectors];
    private readonly long[] _changedAt = new long[sectors];
    private readonly List<(long Time, int Entries)> _checkpoints = [(0, 0)];
    private long _lastId;
    private long _time;

    /// <summary>A number for a new write: what its sectors then hold.</summary>
    public long NextId() => ++_lastId;

    public void Send(SentWrite write)
    {
        if (!_byLsn.TryGetValue(write.Lsn, out var same))
            _byLsn[write.Lsn] = same = [];
        same.Add(write);
        _open.Add(write);
    }

    /// <summary>Its data goes out: its LSN is durable or traced, and must never be given again.</summary>
    public void Land(SentWrite write)
    {
        write.IsLanded = true;
        foreach (var other in _byLsn[write.Lsn])
            if (!ReferenceEquals(other, write) && other.IsLanded)
                throw new ViolationException($"LSN {write.Lsn} was given to write {other.Id} and again to {write.Id}");
    }

    /// <summary>The writes that a flush which begins now must cover.</summary>
    public List<SentWrite> Acknowledged() => [.. _open.Where(w => w.IsAcknowledged)];

    /// <summary>After a power loss, or when the disk had refused something, only what was flushed must be there.</summary>
    public void LoseUnflushed(bool all)
    {
        foreach (var write in _open)
            write.MustBeRecorded &= write.IsFlushed && !all;
    }

    /// <summary>The journal was damaged, and a repair has said which LSNs nobody knows of any more.</summary>
    public void Lose(IReadOnlyList<(long First, long Last)> lost)
    {
        foreach (var write in _open)
            write.MustBeRecorded &= !lost.Any(l => l.First <= write.Lsn && write.Lsn <= l.Last);
    }

    /// <summary>Notes where what clients can read is not what it was.</summary>
    public void Observe(ReadOnlySpan<long> seen)
    {
        _time++;
        for (var sector = 0; sector < sectors; sector++)
        {
            if (seen[sector] == _seen[sector])
                continue;
            _seen[sector] = seen[sector];
            _changedAt[sector] = _time;
        }
    }

    /// <summary>A backup may begin here: whatever changes later must stand in the ledger behind these entries.</summary>
    public long Now => _time;

    public void AddCheckpoint(long time, int entries) => _checkpoints.Add((time, entries));

    /// <summary>Holds the ledger, which has all that the journal has, against what is true.</summary>
    public void Check(SimulatedLedger ledger)
    {
        CheckWrites(ledger);
        foreach (var (time, entries) in _checkpoints)
        {
            var covered = ledger.CoveredSince(entries, sectors);
            for (var sector = 0; sector < sectors; sector++)
                if (_changedAt[sector] > time && !covered[sector])
                    throw new ViolationException(
                        $"sector {sector} changed after the checkpoint at entry {entries} and nothing behind it says so");
        }
    }

    private void CheckWrites(SimulatedLedger ledger)
    {
        foreach (var write in ledger.TakeUnchecked())
        {
            // One that was refused and another one at its LSN may look alike.
            var alike = _byLsn.GetValueOrDefault(write.Lsn)?.FindAll(
                w => (w.Kind, w.Offset, w.Length) == (write.Kind, write.Offset, write.Length)) ?? [];
            var sent = alike.Find(w => w.IsLanded) ?? alike.FirstOrDefault();
            if (sent is null)
                throw new ViolationException($"the ledger holds a write that nobody sent: {write}");
            if (_byLsn[write.Lsn].Find(w => w.IsLanded && !ReferenceEquals(w, sent)) is { } other)
                throw new ViolationException($"LSN {write.Lsn} stands for write {sent.Id} in the ledger and was {other.Id}");
        }

        foreach (var write in _open)
            if (write.MustBeRecorded && !ledger.Holds(write))
                throw new ViolationException(
                    $"write {write.Id} with LSN {write.Lsn} was {(write.IsFlushed ? "flushed" : "answered")} and is not in the ledger");
        _open.RemoveAll(ledger.Holds);
    }
}
