using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Storing;

/// <summary>
/// The states of all volumes that are watched, without their checkpoints, for questions that come between appends: either all that
/// there are or none. A state is out from before an append to its stream is sent until that is known to be done, so that nobody
/// who has seen what was appended is shown what was before. Any thread.
/// </summary>
public sealed class KnownVolumes
{
    /// <summary>Of more volumes none is kept, and of none that is larger than the shipper keeps: some MiB at most.</summary>
    private const int VolumesMax = 1024;

    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, VolumeState> _states = [];
    private readonly Dictionary<Guid, Appending> _appending = [];
    private long _changes;
    private bool _isAll;
    private bool _isAlone;

    /// <summary>How much has happened; for <see cref="Keep"/>.</summary>
    public long Changes
    {
        get
        {
            lock (_lock)
                return _changes;
        }
    }

    /// <summary>Whether every append that may still happen is known here: nobody is in the middle of one that was given up.</summary>
    public bool IsAlone
    {
        get
        {
            lock (_lock)
                return _isAlone;
        }
    }

    /// <summary>All volumes that are watched.</summary>
    /// <returns>Those of them that are known, and those that the streams have to be asked for, since something is being appended to
    /// them; null when all have to be asked for.</returns>
    public (List<VolumeState> Known, Guid[] Asked)? All()
    {
        lock (_lock)
            return _isAll ? ([.. _states.Values], [.. _appending.Keys]) : null;
    }

    /// <summary>The volume of a name, if it is known.</summary>
    public VolumeState? Find(string name)
    {
        lock (_lock)
            return _isAll ? _states.Values.FirstOrDefault(s => s.Name == name) : null;
    }

    /// <summary>A stream was read: where it says something else than what is known, nothing is known any more.</summary>
    public void Compare(VolumeState read)
    {
        lock (_lock)
            if (_states.TryGetValue(read.Id, out var known) && known.Event != read.Event)
                ForgetAll();
    }

    /// <summary>Keeps what the streams said, unless something was appended meanwhile. The caller has asked PostgreSQL, behind
    /// <paramref name="changes"/> and before the streams, and nobody was in the middle of an append.</summary>
    /// <param name="all">Every volume that is watched.</param>
    /// <param name="changes">What <see cref="Changes"/> said before the streams were asked.</param>
    public void Keep(IReadOnlyList<VolumeState> all, long changes)
    {
        lock (_lock)
        {
            if (_changes != changes || _appending.Count > 0)
                return;
            _isAlone = true;
            if (all.Count > VolumesMax || !all.All(StateSize.IsKept))
                return;
            _states.Clear();
            foreach (var state in all)
                _states[state.Id] = state;
            _isAll = true;
        }
    }

    /// <summary>Something else than what is known here may stand in the streams.</summary>
    public void Forget()
    {
        lock (_lock)
            ForgetAll();
    }

    /// <summary>Something is about to be appended.</summary>
    public void Begin(IEnumerable<StreamAppend> appends)
    {
        lock (_lock)
        {
            _changes++;
            foreach (var append in appends)
            {
                _states.Remove(append.VolumeId, out var before);
                _appending[append.VolumeId] = _appending.TryGetValue(append.VolumeId, out var other)
                    ? new(other.Count + 1, Before: null)
                    : new(1, append.ExpectedEvent == 0 ? new() { Id = append.VolumeId } : before);
            }
        }
    }

    /// <summary>What became of it.</summary>
    /// <param name="appends">What was begun.</param>
    /// <param name="happened">Whether it is known to stand in the streams now.</param>
    public void End(IEnumerable<StreamAppend> appends, bool happened)
    {
        lock (_lock)
        {
            _changes++;
            // PostgreSQL may carry it out yet.
            _isAlone &= happened;
            foreach (var append in appends)
            {
                var (count, before) = _appending[append.VolumeId];
                if (count > 1)
                    _appending[append.VolumeId] = new(count - 1, Before: null);
                else
                    _appending.Remove(append.VolumeId);
                _isAll &= count == 1 && happened && before is not null && TryFollow(before, append);
            }

            if (!_isAll)
                _states.Clear();
        }
    }

    private void ForgetAll()
    {
        _changes++;
        _isAll = false;
        _states.Clear();
    }

    private bool TryFollow(VolumeState before, StreamAppend append)
    {
        if (before.Event != append.ExpectedEvent)
            return false;
        var after = append.Events.Aggregate(before, (state, e) => state.Apply(e.Data, state.Event + 1, e.Time));
        after = after with { Checkpoints = [] };
        if (!after.Removed)
            _states[append.VolumeId] = after;
        return StateSize.IsKept(after) && _states.Count <= VolumesMax;
    }

    /// <summary>Appends to a volume that are under way.</summary>
    /// <param name="Count">How many; more than one only where somebody does not keep to lanes.</param>
    /// <param name="Before">The volume before it; null when that is not known.</param>
    private readonly record struct Appending(int Count, VolumeState? Before);
}
