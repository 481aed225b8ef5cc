using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>
/// The bits of every bitmap of a volume, folded from its events. Writes mark one map at the finest granularity;
/// commands
/// fold it into the bitmaps that record, as the Agent does. One thread; the creator disposes.
/// </summary>
public sealed class BitmapReplay : IDisposable
{
    private readonly Dictionary<string, NativeBitmap> _bits = new(StringComparer.Ordinal);
    private readonly List<Gap> _gaps = [];
    private readonly HashSet<string> _inexact = new(StringComparer.Ordinal);
    private NativeBitmap? _live;

    /// <summary>Starts before the first event.</summary>
    public BitmapReplay()
    {
    }

    /// <summary>Goes on from bits that are known; they are taken over.</summary>
    /// <param name="state">The volume where the bits are from.</param>
    /// <param name="bits">The bits of each bitmap, by name.</param>
    public BitmapReplay(VolumeState state, IEnumerable<KeyValuePair<string, NativeBitmap>> bits)
    {
        State = state;
        foreach (var (name, map) in bits)
            _bits[name] = map;
    }

    /// <summary>The volume where the replay stands.</summary>
    public VolumeState State { get; private set; } = new();

    /// <summary>Where writes may have gone unrecorded.</summary>
    public IReadOnlyList<Gap> Gaps => _gaps;

    /// <summary>False when more may be dirty in a bitmap than was written, since it was emptied last.</summary>
    public bool IsExact(string name) => !_inexact.Contains(name);

    /// <summary>The bits of a bitmap; its bytes stay the replay's.</summary>
    public NativeBitmap Bits(string name)
    {
        Fold();
        return _bits[name];
    }

    /// <summary>Takes in one event.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number.</param>
    /// <param name="time">When.</param>
    /// <param name="throughLsn">Later writes are left out.</param>
    public void Apply(IVolumeEvent happened, long number, DateTimeOffset time, long throughLsn = long.MaxValue)
    {
        if (happened is WritesRecorded writes)
        {
            Mark(writes, throughLsn);
        }
        else
        {
            Fold();
            Change(happened);
        }

        State = State.Apply(happened, number, time);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _live?.Dispose();
        foreach (var map in _bits.Values)
            map.Dispose();
    }

    private void Mark(WritesRecorded writes, long throughLsn)
    {
        if (!State.Bitmaps.Any(b => b.Recording))
            return;
        var live = _live ??= new(State.Size, BitTransfer.Finest(State));
        foreach (var write in writes.Packed)
        {
            if (write.Lsn > throughLsn)
                return;
            live.MarkDirty(write.Offset, write.Length);
        }
    }

    private void Fold()
    {
        if (_live is null)
            return;
        foreach (var bitmap in State.Bitmaps.Where(b => b.Recording))
            _bits[bitmap.Name].UnionWith(_live);
        _live.Dispose();
        _live = null;
    }

    private void Change(IVolumeEvent happened)
    {
        switch (happened)
        {
            case BitmapAdded e:
                _bits[e.Name] = new(State.Size, Granularity.FromBytes(e.Granularity));
                break;
            case BitmapRemoved e:
                _inexact.Remove(e.Name);
                _bits.Remove(e.Name, out var gone);
                gone?.Dispose();
                break;
            case BitmapCleared e:
                _inexact.Remove(e.Name);
                _bits[e.Name].Clear();
                break;
            case WritesRecovered e:
                foreach (var bitmap in State.Bitmaps.Where(b => b.Recording))
                {
                    _inexact.Add(bitmap.Name);
                    e.Mark(_bits[bitmap.Name]);
                }

                break;
            case TrackingLost e:
                _gaps.Add(new(e.FromLsn, e.ToLsn, e.Why));
                foreach (var bitmap in State.Bitmaps.Where(b => b.Recording))
                    _bits[bitmap.Name].MarkAll();
                break;
        }
    }
}
