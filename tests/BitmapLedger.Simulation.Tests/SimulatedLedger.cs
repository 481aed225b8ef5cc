using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Journal;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// The ledger and its shipper in small: it never forgets, reads the journal files as the Server does, ships only what is
/// durable, and records what a recovery found before anything else.
/// </summary>
internal sealed class SimulatedLedger(World world, Func<JournalReader> open, bool isPower)
{
    private readonly List<Entry> _entries = [];
    private readonly Dictionary<long, SingleWrite> _writes = [];
    private readonly List<SingleWrite> _unchecked = [];
    private readonly SingleWrite[] _target = new SingleWrite[64];
    private JournalReader _reader = open();

    /// <summary>LSN of the last write.</summary>
    public long LastLsn { get; private set; }

    public int Count => _entries.Count;

    /// <summary>Whether it was ever told that something is not exact.</summary>
    public bool IsInexact { get; private set; }

    /// <summary>The Server starts anew.</summary>
    public void Restart() => _reader = open();

    public bool Holds(SentWrite write) =>
        _writes.TryGetValue(write.Lsn, out var there) && (there.Kind, there.Offset, there.Length) == (write.Kind, write.Offset, write.Length);

    public List<SingleWrite> TakeUnchecked()
    {
        List<SingleWrite> taken = [.. _unchecked];
        _unchecked.Clear();
        return taken;
    }

    /// <summary>Agent and ledger meet: what waits is shipped, what was lost is recorded.</summary>
    public void Meet(TrackedVolume volume)
    {
        Ship(volume, long.MaxValue);
        var status = volume.Status();
        if (status.LastLsn < LastLsn)
            throw new ViolationException($"the journal stands at LSN {status.LastLsn} and the ledger at {LastLsn}");
        if (status.Recovered.Count > 0 && world.Mutant != Mutant.ForgetRecovered)
            Add(new([.. status.Recovered.Select(e => new Extent(e.Offset, e.Length))]));
        if (status.Lost is not null)
            Add(new([new(0, long.MaxValue)]));
        IsInexact |= status.Recovered.Count > 0 || status.Lost is not null;
        volume.Journal.AcknowledgeLoss();
    }

    /// <summary>Goes on behind a damaged journal, as <c>bml repair</c> does: what can be read is recorded, and of what cannot
    /// every block counts as written.</summary>
    /// <returns>The LSNs that are lost, each stretch with its first and last.</returns>
    public IReadOnlyList<(long First, long Last)> Repair(JournalSurvey survey)
    {
        List<(long First, long Last)> lost = [];
        foreach (var stretch in survey.Read())
        {
            if (stretch is JournalStretch.Whole whole)
            {
                var known = LastLsn;
                var writes = whole.Writes.ToArray().Where(w => w.Lsn > known).ToArray();
                if (writes.Length > 0)
                    Append(writes, () => survey.OldestLsn);
            }
            else if (stretch is JournalStretch.Damaged damaged)
            {
                // Which of its writes the ledger has got it knows; of the others it knows nothing.
                if (!damaged.HoldsRecords)
                {
                    Add(new([new(0, long.MaxValue)]));
                    continue;
                }

                var last = damaged.ToLsn ?? long.MaxValue;
                if (last <= Math.Max(LastLsn, damaged.AfterLsn))
                    continue;
                lost.Add((Math.Max(LastLsn, damaged.AfterLsn) + 1, last));
                Add(new([new(0, long.MaxValue)]));
                LastLsn = Math.Max(LastLsn, damaged.ToLsn ?? 0);
            }
        }

        return lost;
    }

    /// <summary>Ships what is durable, up to an LSN.</summary>
    public void Ship(TrackedVolume volume, long lsn)
    {
        var durable = long.MaxValue;
        if (world.Mutant != Mutant.ShipUnsynced)
            durable = volume.Journal.TryMakeDurable() || volume.Journal.DurableLsn > 0 ? volume.Journal.DurableLsn : 0;
        while (true)
        {
            var count = _reader.Read(LastLsn, _target);
            var good = 0;
            while (good < count && _target[good].Lsn <= Math.Min(lsn, durable))
                good++;
            if (good == 0)
                return;
            Append(_target.AsSpan(0, good), _reader.OldestLsn);
            if (world.Mutant == Mutant.ShipTwice && world.Chance(4))
                Append(_target.AsSpan(0, good), _reader.OldestLsn);
        }
    }

    /// <summary>Says what may be freed.</summary>
    public void Release(TrackedVolume volume) =>
        volume.Journal.Release(world.Mutant == Mutant.FreeTooEarly ? volume.Journal.LastLsn : LastLsn);

    /// <summary>What the ledger says was touched behind an entry.</summary>
    public bool[] CoveredSince(int entry, int sectors)
    {
        var covered = new bool[sectors];
        foreach (var extent in _entries.Skip(entry).SelectMany(e => e.Extents))
        {
            var end = Math.Min(extent.Length == long.MaxValue ? long.MaxValue : extent.End, sectors * (long)SimulatedInode.Sector);
            for (var at = extent.Offset; at < end; at += SimulatedInode.Sector)
                covered[at / SimulatedInode.Sector] = true;
        }

        return covered;
    }

    /// <summary>Every shipped write that the journal has not freed must be in it still: it was durable when it was
    /// shipped.</summary>
    public void CheckJournal(TrackedVolume volume)
    {
        if (!isPower)
            return;
        using var reader = open();
        HashSet<long> there = [];
        for (var after = 0L; reader.Read(after, _target) is var count && count > 0; after = _target[count - 1].Lsn)
            there.UnionWith(_target[..count].Select(w => w.Lsn));
        var oldest = volume.Journal.OldestLsn;
        foreach (var lsn in _writes.Keys)
            if (lsn >= oldest && !there.Contains(lsn))
                throw new ViolationException($"LSN {lsn} was shipped and the journal has lost it");
    }

    private void Append(ReadOnlySpan<SingleWrite> writes, Func<long> oldestLsn)
    {
        if (writes[0].Lsn > LastLsn + 1 && oldestLsn() > LastLsn + 1)
        {
            // As the shipper: what the journal does not hold any more is a gap, all blocks dirty. Only a power loss under
            // durability `process` may come to that, and a disk that loses the header of the oldest segment.
            if (isPower && !world.HasLied)
                throw new ViolationException($"the journal has freed LSN {LastLsn + 1}, which the ledger has not got");
            Add(new([new(0, long.MaxValue)]));
        }

        foreach (var write in writes)
        {
            if (write.Lsn <= LastLsn)
                throw new ViolationException($"LSN {write.Lsn} was appended behind LSN {LastLsn}");
            LastLsn = write.Lsn;
            _writes[write.Lsn] = write;
            _unchecked.Add(write);
            Add(new([new(write.Offset, write.Length)]));
        }
    }

    private void Add(Entry entry) => _entries.Add(entry);

    private sealed record Entry(IReadOnlyList<Extent> Extents);
}
