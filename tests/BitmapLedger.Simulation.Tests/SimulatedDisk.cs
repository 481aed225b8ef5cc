using BitmapLedger.Journal;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// The disk that a journal lies on. A power loss keeps of what was not synced any sectors it likes,
/// in any version they had, and any of the names that were made, moved and deleted.
/// </summary>
internal sealed class SimulatedDisk(World world) : IJournalDisk
{
    private static readonly string[] _smallFiles = ["boot", "ceiling", "recovered", "activity", "flush"];

    private readonly List<SimulatedInode> _inodes = [];
    private readonly List<Action<Dictionary<string, SimulatedInode>>> _pending = [];
    private readonly List<Action> _late = [];
    private bool _hasForgotten;
    private SimulatedInode? _damaged;
    private Dictionary<string, SimulatedInode> _names = new(StringComparer.Ordinal);
    private Dictionary<string, SimulatedInode> _durable = new(StringComparer.Ordinal);

    public int PageBytes => SimulatedInode.Sector;

    public void CreateDirectory(string directory)
    {
    }

    public IReadOnlyList<string> Names(string directory) =>
        [.. _names.Keys.Where(n => IsIn(n, directory)).Select(n => Path.GetFileName(n)).Order(StringComparer.Ordinal)];

    public IJournalFile? TryOpen(string path, bool writable) =>
        _names.TryGetValue(path, out var inode) && !IsPassedOver(inode) ? new SimulatedFile(world, this, inode) : null;

    public IJournalFile Create(string path)
    {
        var inode = new SimulatedInode(path);
        Rename(path, names => names[path] = inode, "no space left on device");
        _inodes.Add(inode);
        return new SimulatedFile(world, this, inode);
    }

    public void Move(string from, string to)
    {
        if (!_names.TryGetValue(from, out var inode))
        {
            Rename(from, names => MoveAll(names, from, to), "input/output error");
            return;
        }

        Rename(
            from,
            names =>
            {
                names.Remove(from);
                names[to] = inode;
            },
            "input/output error");
        inode.IsInUse = true;
    }

    public void Delete(string path)
    {
        if (_names.ContainsKey(path))
            Rename(path, names => names.Remove(path), "input/output error");
    }

    public void SyncDirectory(string directory)
    {
        world.Change(() => { });
        if (world.Fails())
            throw new IOException("input/output error");
        if (world.Mutant == Mutant.SkipDirectorySync)
            return;
        _durable = new(_names, StringComparer.Ordinal);
        _pending.Clear();
    }

    public bool HasForgotten(string directory)
    {
        var told = _hasForgotten;
        _hasForgotten = false;
        return told;
    }

    public bool CanRead(string directory) => true;

    /// <summary>A sync has failed.</summary>
    public void Forgets() => _hasForgotten = true;

    /// <summary>What the machine forgets.</summary>
    public void LosePower()
    {
        _late.Clear();
        var inOrder = world.Chance(2);
        var kept = world.Random.Next(_pending.Count + 1);
        for (var i = 0; i < _pending.Count; i++)
        {
            if (inOrder ? i < kept : world.Chance(2))
                _pending[i](_durable);
        }

        _pending.Clear();
        _names = new(_durable, StringComparer.Ordinal);
        foreach (var inode in _inodes)
            inode.LosePower(world.Random);
        _inodes.RemoveAll(i => !_names.ContainsValue(i));
    }

    /// <summary>Memory runs short: what a failed sync has left in it and not on the disk may go.</summary>
    public void Evict()
    {
        foreach (var inode in _inodes)
            inode.Evict(world.Random);
    }

    /// <summary>The disk loses sectors that it had; whether it did.</summary>
    public bool TryLie(Guid volumeId) => new LostSectors(
        volumeId,
        [
            .. _names.Where(n => IsIn(n.Key, "journal") && n.Key.EndsWith(".seg", StringComparison.Ordinal))
                .OrderBy(n => n.Key, StringComparer.Ordinal).Select(n => n.Value),
        ],
        world.Random).TryLose();

    /// <summary>A file beside the segments that says what nothing else does any more, and is seldom there: what a recovery has found
    /// and nobody was told of, or a flush that was under way or has failed; null when there is none.</summary>
    public string? TellingSmallFile()
    {
        if (_names.ContainsKey("journal/recovered"))
            return "recovered";
        Span<byte> note = stackalloc byte[8];
        return _names.TryGetValue("journal/flush", out var flush) && flush.Read(note, 0) == note.Length && note[5] != 0 ? "flush" : null;
    }

    /// <summary>The disk damages a file beside the segments, which it had got.</summary>
    /// <param name="wanted">Its name; null for any.</param>
    /// <returns>Its name; null when there is none.</returns>
    public string? TryDamageSmallFile(string? wanted)
    {
        var there = _smallFiles.Where(n => _names.TryGetValue($"journal/{n}", out var i) && i.Length > 0).ToList();
        if (there.Count == 0)
            return null;
        // Of the log of regions it takes more than of the others before its absence shows.
        var name = wanted ?? (there.Contains("activity") && world.Chance(2) ? "activity" : there[world.Random.Next(there.Count)]);
        var damaged = _names[$"journal/{name}"];
        damaged.Sync();
        var sector = world.Random.Next((damaged.Length + SimulatedInode.Sector - 1) / SimulatedInode.Sector);
        switch (world.Random.Next(4))
        {
            case 0:
                damaged.Zero(sector);
                break;
            case 1:
                damaged.Spoil(sector);
                break;
            case 2:
                damaged.Flip(world.Random.Next(damaged.Length), world.Random.Next(8));
                break;
            default:
                damaged.Truncate(world.Random.Next(damaged.Length));
                break;
        }

        _damaged = damaged;
        return name;
    }

    /// <summary>For a mutant: forgets a file.</summary>
    public void Forget(string name)
    {
        _names.Remove(name);
        _durable.Remove(name);
    }

    /// <summary>For a mutant: what comes later than it should.</summary>
    public void Postpone(Action change) => _late.Add(change);

    /// <summary>For a mutant: what was postponed happens.</summary>
    public void CatchUp()
    {
        foreach (var change in _late)
            change();
        _late.Clear();
    }

    /// <summary>For mutants: what is damaged passes for what was never there.</summary>
    private bool IsPassedOver(SimulatedInode inode) => ReferenceEquals(inode, _damaged) && world.Mutant switch
    {
        Mutant.ForgetDamagedActivity => inode.Name.StartsWith("activity", StringComparison.Ordinal),
        Mutant.ForgetDamagedRecovered => inode.Name.StartsWith("recovered", StringComparison.Ordinal),
        Mutant.ForgetDamagedFlush => inode.Name.StartsWith("flush", StringComparison.Ordinal),
        _ => false,
    };

    private void Rename(string path, Action<Dictionary<string, SimulatedInode>> change, string error)
    {
        world.Change(() => { });
        var name = Path.GetFileName(path);
        if (!name.StartsWith("boot", StringComparison.Ordinal) && name != "flush" && world.Fails())
            throw new IOException(error);
        change(_names);
        _pending.Add(change);
    }

    private static void MoveAll(Dictionary<string, SimulatedInode> names, string from, string to)
    {
        foreach (var (path, inode) in names.Where(n => IsIn(n.Key, from)).ToList())
        {
            names.Remove(path);
            names[Path.Combine(to, Path.GetFileName(path))] = inode;
        }
    }

    private static bool IsIn(string path, string directory) => Path.GetDirectoryName(path) == directory;
}
