using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Journal;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// One life of a volume, all of it from one seed: several runs of the Agent's write path, each ended by a crash after any
/// change
/// of a disk, or in order; between them the machine stays up or loses power. The classes are the real ones; disks and
/// clock are not.
/// </summary>
internal sealed partial class Life : IDisposable
{
    private const string Journal = "journal";
    private const int Sectors = 96;
    private const int BatchMax = 4;
    private const int LengthMax = 12;
    private const int RegionBytes = 8 * SimulatedInode.Sector;
    private static readonly Guid _id = Guid.Parse("0190a000-0000-7000-8000-000000000003");

    private readonly World _world;
    private readonly SimulatedDisk _disk;
    private readonly SimulatedData _data;
    private readonly SimulatedLedger _ledger;
    private readonly Model _model = new(Sectors);
    private readonly VolumeSpec _spec;
    private readonly Surplus _surplus;
    private readonly int _regionsMax;
    private readonly bool _lies;
    private readonly List<VolumeWriter> _writers = [];
    private readonly byte[] _buffer = new byte[2 * BatchMax * LengthMax * SimulatedInode.Sector];
    private TrackedVolume _volume = null!;
    private int _boot;
    private int _depth;
    private bool _flushing;
    private bool _unsure;
    private bool _isRepaired;

    public Life(int seed, Mutant mutant)
    {
        _world = new(seed, mutant);
        _disk = new(_world);
        _data = new(_world, Sectors) { SkipsFlush = mutant == Mutant.SkipDataFlush };
        _regionsMax = _world.Random.Next(3) switch { 0 => 2, 1 => 4, _ => 16 };
        _lies = _world.Chance(4);
        _surplus = new(Sectors, RegionBytes, _regionsMax);
        var durability = _world.Chance(5) ? "process" : "power";
        _spec = new(_id, "v", "data", _data.Size, false, durability, "fail", 8 * SegmentBytes, 0);
        _ledger = new(_world, () => new(Journal, _id, _disk), IsPower);
        _data.OnWrite = () => Meanwhile(inFlush: false);
        _data.AfterWrite = _disk.CatchUp;
        _data.OnFlush = () => Meanwhile(inFlush: true);
    }

    private static int SegmentBytes => 5 * SimulatedInode.Sector;

    private bool IsPower => _spec.Durability == "power";

    /// <summary>Lives it. Returns how many changes of disks that took.</summary>
    /// <exception cref="ViolationException">Something was seen that must never be.</exception>
    public long Run()
    {
        // What a failed flush leaves is of interest to a disk that damages the note of it.
        var faultEvery = _world.Chance(3) ? (_lies ? 15 : 40) + _world.Random.Next(_lies ? 60 : 200) : 0;
        var exact = faultEvery == 0;
        for (var run = _world.Random.Next(1, 5); run >= 0; run--)
        {
            var last = run == 0;
            _world.Restart(last || _world.Chance(6) ? null : _world.Random.Next(400), last ? 0 : faultEvery);
            var ended = RunOnce(last, exact);
            if (ended == Ending.Damaged && !_world.HasLied)
                return _world.Changes;
            exact &= End(ended) && !_world.HasLied;
            if (ended != Ending.Damaged)
                continue;
            Repair();
            run = Math.Max(run, 1);
        }

        return _world.Changes;
    }

    public void Dispose() => _data.Dispose();

    private Ending RunOnce(bool last, bool exact)
    {
        try
        {
            // As the Agent does: a power loss may have taken the new name of a journal that was begun in place of a damaged one.
            JournalDirectories.Finish(_disk, Journal);
            _volume = TrackedVolume.Open(_spec, _data, new(
                Journal, _id, _spec.JournalQuota, _isRepaired ? _ledger.LastLsn : 0, _world.Clock, SegmentBytes)
            {
                Disk = _disk,
                BootId = $"boot {_boot}",
                RegionBytes = RegionBytes,
                RegionsMax = _regionsMax,
                LsnsAhead = 16,
                PreparesAhead = false,
            });
            _model.Observe(_data.Seen);
            if (IsPower)
                _surplus.Open(_volume.Journal.Recovered);
            _ledger.Meet(_volume);
            if (exact && _ledger.IsInexact)
                throw new ViolationException("nothing but processes ended, and an answer is not exact");
            _surplus.Told();
            _model.Check(_ledger);
            _ledger.CheckJournal(_volume);
            for (var step = last ? 0 : _world.Random.Next(5, 50); step > 0; step--)
                Step();
            return Close();
        }
        catch (SimulatedCrashException)
        {
            return Ending.Crash;
        }
        catch (IOException) when (_world.Faults > 0)
        {
            // The volume does not open while its disk refuses; the next run tries again.
            return Ending.Crash;
        }
        catch (CorruptionException) when (_world.Faults > 0 || (_world.HasLied && !_isRepaired))
        {
            // A journal whose disk forgot what it had synced is refused by file and offset, and repaired by command.
            return Ending.Damaged;
        }
    }

    private void Repair()
    {
        _isRepaired = true;
        _model.Lose(_ledger.Repair(new(Journal, _id, _disk)));
        _surplus.Repair();
        while (!TrySetAside())
        {
        }

        _ledger.Restart();
    }

    /// <summary>Sets the journal aside as the command does; the next start, or the command once more, goes on where a crash
    /// came between.</summary>
    private bool TrySetAside()
    {
        _world.Restart(_world.Chance(2) ? _world.Random.Next(40) : null, faultEvery: 0);
        var done = true;
        try
        {
            JournalDirectories.Finish(_disk, Journal);
            if (_disk.Names(Journal).Any(n => n.EndsWith(".seg", StringComparison.Ordinal)) || IsDamaged())
            {
                // No client is left: nothing happens meanwhile.
                _depth++;
                _ = _data.Flush();
                JournalDirectories.SetAside(_disk, Journal, _id, _ledger.LastLsn);
            }
        }
        catch (SimulatedCrashException)
        {
            done = false;
        }

        _depth = 0;
        if (_world.Chance(2))
        {
            LosePower();
            _surplus.EndRun(inOrder: false, wentDown: true);
            _surplus.Repair();
            _model.LoseUnflushed(all: !IsPower);
            _unsure = false;
            _model.Observe(_data.Seen);
        }

        return done;
    }

    private bool IsDamaged() => new JournalSurvey(Journal, _id, _disk).Read().OfType<JournalStretch.Damaged>().Any();

    private void LosePower()
    {
        _disk.LosePower();
        _data.LosePower();
        _boot++;
        _ledger.Restart();
        if (_world.Mutant == Mutant.ForgetCeiling)
            _disk.Forget($"{Journal}/ceiling");
    }

    /// <summary>A stop that the disk refused to make durable counts as a crash.</summary>
    private Ending Close()
    {
        var faults = _world.Faults;
        var suspect = _volume.Journal.IsSuspect;
        _data.SkipsFlush |= _world.Mutant == Mutant.CloseUnflushed;
        // No client is left: nothing happens meanwhile.
        _depth++;
        _volume.Dispose();
        _data.SkipsFlush = _world.Mutant == Mutant.SkipDataFlush;
        return suspect || _world.Faults > faults ? Ending.Crash : Ending.InOrder;
    }

    /// <summary>What the end of a run does to the machine; false when it went down.</summary>
    private bool End(Ending ended)
    {
        var suspect = _volume?.Journal.IsSuspect ?? false;
        _world.GoDown();
        _writers.Clear();
        (_depth, _flushing) = (0, false);
        _data.OnWrite = () => Meanwhile(inFlush: false);
        _data.IsWritten = false;
        var losesPower = _world.Chance(2);
        if (losesPower)
            LosePower();

        _surplus.EndRun(ended == Ending.InOrder, losesPower);
        // Under durability `process` nothing is written again that the disk refused: until the next boot no stop is in order.
        _unsure |= suspect && !IsPower;
        if (suspect || (losesPower && (_unsure || ended != Ending.InOrder)))
            _model.LoseUnflushed(all: !IsPower);
        _unsure &= !losesPower;
        Lie(of: 4);
        _model.Observe(_data.Seen);
        return !losesPower;
    }

    private void Step()
    {
        _world.Clock.Now = _world.Clock.Now.AddMilliseconds(_world.Random.Next(20));
        switch (_world.Random.Next(24))
        {
            case < 13:
                Write();
                break;
            case 13 or 14:
                Flush();
                break;
            case < 18:
                _ledger.Ship(_volume, long.MaxValue);
                _ledger.Release(_volume);
                break;
            case 18 or 19:
                Checkpoint();
                break;
            case 20 or 21:
                Tidy();
                break;
            case 22 when _writers.Count > 1:
                _volume.Disconnect(_writers[0]);
                _writers.RemoveAt(0);
                break;
            default:
                _disk.Evict();
                _data.Evict();
                Lie(of: 3);
                break;
        }

        _model.Observe(_data.Seen);
    }

    /// <summary>Once in a life, of a disk that does.</summary>
    private void Lie(int of)
    {
        if (!_lies || _world.HasLied)
            return;
        var telling = _disk.TellingSmallFile();
        if (telling is null && !_world.Chance(of))
            return;
        if (telling is null && _world.Chance(2))
        {
            _world.HasLied = _disk.TryLie(_id);
            return;
        }

        var damaged = _disk.TryDamageSmallFile(telling);
        _world.HasLied = damaged is not null;
        // Then any region may have stood there.
        if (damaged == "activity")
            _surplus.Repair();
    }

    /// <summary>Something happens while a write or a flush is under way.</summary>
    private void Meanwhile(bool inFlush)
    {
        if (_depth > 0 || !_world.Chance(6) || _world.IsDown)
            return;
        _depth++;
        var before = _flushing;
        _flushing |= inFlush;
        _model.Observe(_data.Seen);
        switch (_world.Random.Next(_flushing ? 1 : 5))
        {
            case 0 or 1:
                Write();
                break;
            case 2:
                Flush();
                break;
            case 3:
                _ledger.Ship(_volume, long.MaxValue);
                break;
            case 4 when _world.Mutant == Mutant.DropDrain:
                Cut();
                break;
            default:
                Tidy();
                break;
        }

        _flushing = before;
        _depth--;
    }

    private void Tidy()
    {
        for (var round = _world.Chance(3) ? 31 : 1; round > 0; round--)
        {
            if (_world.Mutant != Mutant.ForgetTidying)
                _volume.Tidy();
            if (_world.Faults == 0)
                _surplus.Tidied();
        }
    }

    private void Flush()
    {
        var covered = _model.Acknowledged();
        var settled = _surplus.BeginFlush();
        var began = _surplus.Time;
        if (_volume.Flush() != 0)
            return;
        _surplus.EndFlush(settled, began);
        foreach (var write in covered)
            write.IsFlushed = true;
    }

    private void Checkpoint()
    {
        // As the Agent: no command stands before what the ledger does not know of.
        if (_volume.Journal.IsSuspect)
            return;
        if (!_volume.TryCloseGate())
            throw new ViolationException("a gate with nobody inside does not close");
        Cut();
    }

    private void Cut()
    {
        FenceRecord fence;
        try
        {
            fence = _volume.Cut(Granularity.Default);
        }
        catch (IOException)
        {
            return;
        }
        finally
        {
            _volume.OpenGate();
        }

        _model.Observe(_data.Seen);
        var time = _model.Now;
        _ledger.Ship(_volume, fence.Lsn);
        // What is not durable yet keeps the command waiting; here it is given up.
        if (_volume.Journal.DurableLsn >= fence.Lsn)
            _model.AddCheckpoint(time, _ledger.Count);
    }

    private enum Ending
    {
        InOrder,
        Crash,
        Damaged,
    }
}
