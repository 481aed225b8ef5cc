using BitmapLedger.Bitmaps;

namespace BitmapLedger.WritePath.Tracking;

/// <content>Watches: contexts that go on while clients write.</content>
internal sealed partial class BitmapTable
{
    private readonly List<ChangeWatch> _watches = [];

    /// <summary>Begins a watch, if nothing was written since the last cut: then no cut is needed. Writers need not be held up.</summary>
    /// <param name="lastLsn">Reads the LSN of the last write.</param>
    /// <returns>Null when there is something, or the volume is closed.</returns>
    public ChangeWatch? TryWatch(Func<long> lastLsn)
    {
        lock (_lock)
            return _disposed || _live.TryFindRun(0, out _) ? null : Begin(lastLsn());
    }

    /// <summary>Begins a watch at a cut that no command stands at. The gate is closed.</summary>
    /// <param name="nextFence">Number that the next fence will have: the bitmaps get what is swapped out here at that one.</param>
    /// <param name="lsn">LSN of the last write.</param>
    public ChangeWatch Watch(long nextFence, long lsn)
    {
        var empty = new NativeBitmap(_live.VolumeBytes, _live.Granularity);
        lock (_lock)
        {
            _swapped.Add(new(++_cuts, nextFence, _live));
            Volatile.Write(ref _live, empty);
            return Begin(lsn);
        }
    }

    /// <summary>Nobody wants to know any more.</summary>
    public void End(ChangeWatch watch)
    {
        lock (_lock)
        {
            if (!_watches.Remove(watch))
                return;
            watch.Dispose();
            JoinCuts();
        }
    }

    /// <summary>Whether a byte is dirty in a map, or was written since a watch began, and how far it is the same.</summary>
    public bool IsChanged(ChangeWatch watch, NativeBitmap before, long offset, long end, out long until)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            var union = new DirtyUnion(offset, end, before.Granularity);
            union.Add(before);
            union.Add(watch.Folded);
            union.Add(_live);
            foreach (var swapped in _swapped.Where(s => s.Cut > watch.Cut))
                union.Add(swapped.Map);
            return union.IsDirty(out until);
        }
    }

    private ChangeWatch Begin(long lsn)
    {
        var watch = new ChangeWatch(_cuts, lsn, new(_live.VolumeBytes, _live.Granularity));
        _watches.Add(watch);
        return watch;
    }

    /// <summary>A map that was swapped out for a watch alone joins the next one when no watch begins between them: clients that
    /// come and go must leave nothing behind.</summary>
    private void JoinCuts()
    {
        for (var i = _swapped.Count - 2; i >= 0; i--)
        {
            var (earlier, later) = (_swapped[i], _swapped[i + 1]);
            if (earlier.Fence != later.Fence || _watches.Exists(w => w.Cut == earlier.Cut))
                continue;
            later.Map.UnionWith(earlier.Map);
            earlier.Map.Dispose();
            _swapped.RemoveAt(i);
        }
    }
}
