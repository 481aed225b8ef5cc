using BitmapLedger.Journal;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// The disk that a journal lies on, one directory of it. A power loss keeps of what was not synced any sectors it likes,
/// in any version they had, and any of the names that were made, moved and deleted.
/// </summary>
internal sealed class SimulatedDisk(World world) : IJournalDisk
{
    private readonly List<SimulatedInode> _inodes = [];
    private readonly List<(string Name, SimulatedInode? Inode)[]> _pending = [];
    private readonly List<Action> _late = [];
    private bool _hasForgotten;
    private Dictionary<string, SimulatedInode> _names = new(StringComparer.Ordinal);
    private Dictionary<string, SimulatedInode> _durable = new(StringComparer.Ordinal);

    public int PageBytes => SimulatedInode.Sector;

    public void CreateDirectory(string directory)
    {
    }

    public IReadOnlyList<string> Names(string directory) => [.. _names.Keys.Order(StringComparer.Ordinal)];

    public IJournalFile? TryOpen(string path, bool writable) =>
        _names.TryGetValue(Name(path), out var inode) ? new SimulatedFile(world, this, inode) : null;

    public IJournalFile Create(string path)
    {
        var inode = new SimulatedInode(Name(path));
        Rename([(Name(path), inode)], "no space left on device");
        _inodes.Add(inode);
        return new SimulatedFile(world, this, inode);
    }

    public void Move(string from, string to)
    {
        Rename([(Name(from), null), (Name(to), _names[Name(from)])], "input/output error");
        _names[Name(to)].IsInUse = true;
    }

    public void Delete(string path)
    {
        if (_names.ContainsKey(Name(path)))
            Rename([(Name(path), null)], "input/output error");
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
                Apply(_durable, _pending[i]);
        }
    public bool CanRead(string directory) => true;


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
        [.. _names.Where(n => n.Key.EndsWith(".seg", StringComparison.Ordinal)).OrderBy(n => n.Key, StringComparer.Ordinal).Select(n => n.Value)],
        world.Random).TryLose();

    /// <summary>The segments are set aside, as <c>bml repair</c> does: a new journal goes on with what does not stand in
    /// them.</summary>
    public void SetAside()
    {
        foreach (var name in _names.Keys.Except(["boot", "ceiling", "activity", "recovered"]))
            _names.Remove(name);
        _names["aside"] = new("aside");
        _durable = new(_names, StringComparer.Ordinal);
        _pending.Clear();
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

    private void Rename((string Name, SimulatedInode? Inode)[] change, string error)
    {
        world.Change(() => { });
        if (!change[0].Name.StartsWith("boot", StringComparison.Ordinal) && change[0].Name != "flush" && world.Fails())
            throw new IOException(error);
        Apply(_names, change);
        _pending.Add(change);
    }

    private static void Apply(
        Dictionary<string, SimulatedInode> names, IEnumerable<(string Name, SimulatedInode? Inode)> change)
    {
        foreach (var (name, inode) in change)
        {
            if (inode is null)
                names.Remove(name);
            else
                names[name] = inode;
        }
    }

    private static string Name(string path) => Path.GetFileName(path);
}
