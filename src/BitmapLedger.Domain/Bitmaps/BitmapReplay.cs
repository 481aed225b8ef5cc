using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>
/// The bits of every bitmap and slice of a volume, folded from its events. Writes mark one map at the finest granularity;
/// commands fold it into the bitmaps that record, as the Agent does. One thread; the creator disposes.
/// </summary>
public sealed class BitmapReplay : IDisposable
{
    private readonly Dictionary<string, NativeBitmap> _bits = new(StringComparer.Ordinal);
    private readonly SliceMaps _slices = new();
    private readonly List<Gap> _gaps = [];
    private readonly Inexactness _inexact = new();
    private NativeBitmap? _live;

    /// <summary>Starts before the first event.</summary>
    public BitmapReplay()
    {
    }

    /// <summary>Goes on from bits that are known; they are taken over.</summary>
    /// <param name="state">The volume where the bits are from.</param>
    /// <param name="bits">The bits of each bitmap and successor, by name.</param>
    /// <param name="slices">The bits of each slice, encoded.</param>
    /// <param name="unfolded">What <see cref="Unfolded"/> was; taken over.</param>
    public BitmapReplay(
        VolumeState state, IEnumerable<KeyValuePair<string, NativeBitmap>> bits, IEnumerable<KeyValuePair<SliceName, byte[]>> slices,
        NativeBitmap? unfolded = null)
    {
        State = state;
        _live = unfolded;
        foreach (var (name, map) in bits)
            _bits[name] = map;
        foreach (var (name, encoded) in slices)
            _slices.Read(name, encoded);
    }

    /// <summary>The volume where the replay stands.</summary>
    public VolumeState State { get; private set; } = new();

    /// <summary>Where writes may have gone unrecorded.</summary>
    public IReadOnlyList<Gap> Gaps => _gaps;

    /// <summary>Slices whose bits came, changed or went since the replay began.</summary>
    public IReadOnlyCollection<SliceName> ChangedSlices => _slices.Changed;

    /// <summary>Writes that are in no bitmap yet; null when there are none. It stays the replay's.</summary>
    public NativeBitmap? Unfolded => _live;

    /// <summary>The last event that the bits of a bitmap may have changed with, <see cref="Unfolded"/> left aside; 0 when none
    /// did since the replay began.</summary>
    public long FoldedEvent { get; private set; }

    /// <summary>Bytes that the bits in memory take at most.</summary>
    public long BytesMax => _bits.Values.Sum(SliceMaps.BytesMax) + _slices.TotalBytesMax + (_live is null ? 0 : SliceMaps.BytesMax(_live));

    /// <summary>False when more may be dirty in a bitmap than was written, since it was emptied last.</summary>
    public bool IsExact(string name) => _inexact.IsExact(name);

    /// <summary>The bits of a bitmap, or of a successor by its name; they stay the replay's.</summary>
    public NativeBitmap Bits(string name)
    {
        Fold();
        return _bits[name];
    }

    /// <summary>The same without <see cref="Unfolded"/>.</summary>
    public NativeBitmap FoldedBits(string name) => _bits[name];

    /// <summary>The bits of a slice; they stay the replay's.</summary>
    public NativeBitmap SliceBits(string bitmap, long number) => _slices.Bits(new(bitmap, number));

    /// <summary>The bits of a slice as <c>BitmapCodec</c> encodes them.</summary>
    public byte[] EncodedSlice(SliceName name) => _slices.Encode(name);

    /// <summary>From here on <see cref="ChangedSlices"/> counts anew.</summary>
    public void ForgetChangedSlices() => _slices.ForgetChanged();

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
        else if (happened is HistoryCoalesced coalesced)
        {
            Mark(coalesced, throughLsn);
        }
        else
        {
            Fold();
            Change(happened);
            FoldedEvent = number;
        }

        State = State.Apply(happened, number, time);
    }

    /// <summary>Takes in a block of writes as it is stored, without reading more of it than where they lie.</summary>
    /// <param name="packed">The bytes of <see cref="WritesRecorded.Packed"/>.</param>
    /// <param name="number">Number of the event.</param>
    /// <returns>A fault when they are not what was written; then the replay is of no use any more.</returns>
    public CodecFault ApplyWrites(ReadOnlySpan<byte> packed, long number)
    {
        var fault = PackedScan.TryMark(packed, Live(), out var lastLsn);
        State = State with { LastLsn = lastLsn, Event = number };
        return fault;
    }

    /// <summary>Puts what was written into the bitmaps that record.</summary>
    public void Fold()
    {
        if (_live is null)
            return;
        foreach (var name in Recording())
            _bits[name].UnionWith(_live);
        _live.Dispose();
        _live = null;
        FoldedEvent = State.Event;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _live?.Dispose();
        _slices.Dispose();
        foreach (var map in _bits.Values)
            map.Dispose();
    }

    /// <summary>What writes mark; null when no bitmap records.</summary>
    private NativeBitmap? Live() =>
        State.Bitmaps.Any(b => b.Recording) ? _live ??= new(State.Size, BitTransfer.Finest(State)) : null;

    private void Mark(WritesRecorded writes, long throughLsn)
    {
        if (Live() is not { } live)
            return;
        if (throughLsn >= writes.Packed.LastLsn)
        {
            _ = PackedScan.TryMark(writes.Packed.Bytes.Span, live);
            return;
        }

        foreach (var write in writes.Packed)
        {
            if (write.Lsn > throughLsn)
                return;
            live.MarkDirty(write.Offset, write.Length);
        }
    }

    /// <summary>All of it, when any of it is in: too many, where the rest lies behind. What is forgotten is needed by no bits
    /// that can be asked for; whoever asks nevertheless gets all blocks.</summary>
    private void Mark(HistoryCoalesced happened, long throughLsn)
    {
        var span = happened.Coalesced.Span;
        if (span.FirstLsn > throughLsn)
            return;
        if (span.LastLsn > throughLsn)
            _gaps.Add(happened.Gap);
        if (State.Bitmaps.Any(b => b.Recording))
            happened.Coalesced.Mark(_live ??= new(State.Size, BitTransfer.Finest(State)));
    }

    /// <summary>Names of what takes the writes.</summary>
    private IEnumerable<string> Recording() =>
        State.Bitmaps.Where(b => b.Recording).Select(b => b.Successor is null ? b.Name : b.SuccessorName);

    private void Change(IVolumeEvent happened)
    {
        switch (happened)
        {
            case BitmapAdded e:
                _bits[e.Name] = new(State.Size, Granularity.FromBytes(e.Granularity));
                break;
            case BitmapImported e:
                _bits[e.Name] = GivenBits.Read(e.Bits);
                break;
            case BitmapRemoved e:
                Remove(State.Bitmap(e.Name)!);
                break;
            case BitmapCleared e:
                _inexact.Clear(e.Name);
                _bits[e.Name].Clear();
                break;
            case BitmapMerged e:
                foreach (var source in e.Sources)
                    Merge(e.Target, source);
                break;
            case SliceBanked or SliceDeleted or SliceDropped or SlicesReset:
                ChangeSlices(happened);
                break;
            case BackupStarted e:
                foreach (var bitmap in e.Bitmaps.Select(n => State.Bitmap(n)!).Where(b => b.Successor is null))
                    _bits[bitmap.SuccessorName] = new(State.Size, Granularity.FromBytes(bitmap.Granularity));
                break;
            case IBackupEnded e when State.Backup(e.Job) is { } job:
                foreach (var bitmap in job.Bitmaps.Select(n => State.Bitmap(n)!))
                    EndJob(bitmap, job, e);
                break;
            case VolumeResized e:
                Resize(e.Size);
                break;
            case WritesRecovered or TrackingLost:
                Recover(happened);
                break;
        }
    }

    private void Recover(IVolumeEvent happened)
    {
        if (happened is TrackingLost lost)
            _gaps.Add(new(lost.FromLsn, lost.ToLsn, lost.Why));
        foreach (var name in Recording())
        {
            if (happened is WritesRecovered recovered)
            {
                _inexact.Add(name);
                recovered.Mark(_bits[name]);
            }
            else
            {
                _bits[name].MarkAll();
            }
        }
    }

    private void Merge(string target, MergeSource source)
    {
        if (source.Volume is null)
        {
            _inexact.Flow(source.Name, target);
            _bits[target].UnionWith(_bits[source.Name]);
            return;
        }

        using var given = GivenBits.Read(source.Bits);
        _bits[target].UnionWith(given);
    }

    private void ChangeSlices(IVolumeEvent happened)
    {
        switch (happened)
        {
            case SliceBanked e:
                var bits = _bits[e.Bitmap];
                _slices.Add(new(e.Bitmap, e.Slice), bits);
                _bits[e.Bitmap] = new(State.Size, bits.Granularity);
                _inexact.Clear(e.Bitmap);
                break;
            case SliceDeleted e:
                if (State.Bitmap(e.Bitmap)!.Slices.LastOrDefault(s => s.Number < e.Slice) is { } older)
                    _slices.Union(new(e.Bitmap, older.Number), _slices.Bits(new(e.Bitmap, e.Slice)));
                _slices.Remove(new(e.Bitmap, e.Slice));
                break;
            case SliceDropped e:
                _slices.Remove(new(e.Bitmap, e.Slice));
                break;
            case SlicesReset e:
                foreach (var slice in State.Bitmap(e.Bitmap)!.Slices)
                    _slices.Remove(new(e.Bitmap, slice.Number));
                break;
        }
    }

    /// <summary>QEMU's table of what becomes of a bitmap and its successor.</summary>
    private void EndJob(BitmapState bitmap, BackupState job, IBackupEnded e)
    {
        var (bits, successor) = (_bits[bitmap.Name], _bits[bitmap.SuccessorName]);
        var last = bitmap.Jobs.Count == 1;
        if (job.Changes)
        {
            var left = e is BackupFailed failed ? failed.Left : (e as BackupCancelled)?.Left;
            if (e is BackupCompleted || (job.Mode == BackupModes.Always && left is not null))
            {
                bits.Clear();
                _inexact.Clear(bitmap.Name);
            }

            if (job.Mode == BackupModes.Always && left is not null)
            {
                using var given = GivenBits.Read(left.Bits);
                bits.UnionWith(given);
            }
        }

        if (!job.Changes && !last)
            return;
        bits.UnionWith(successor);
        _inexact.Flow(bitmap.SuccessorName, bitmap.Name);
        successor.Clear();
        _inexact.Clear(bitmap.SuccessorName);
        if (last && _bits.Remove(bitmap.SuccessorName, out var gone))
            gone.Dispose();
    }

    private void Resize(long size)
    {
        foreach (var (name, map) in _bits.ToArray())
        {
            _bits[name] = map.Resized(size);
            map.Dispose();
        }

        foreach (var bitmap in State.Bitmaps)
            foreach (var slice in bitmap.Slices)
                _slices.Resize(new(bitmap.Name, slice.Number), size);
    }

    private void Remove(BitmapState bitmap)
    {
        foreach (var name in (string[])[bitmap.Name, bitmap.SuccessorName])
        {
            _inexact.Clear(name);
            if (_bits.Remove(name, out var gone))
                gone.Dispose();
        }

        foreach (var slice in bitmap.Slices)
            _slices.Remove(new(bitmap.Name, slice.Number));
    }

    /// <summary>Which bitmaps hold more than was written for certain.</summary>
    private sealed class Inexactness
    {
        private readonly HashSet<string> _names = new(StringComparer.Ordinal);

        public bool IsExact(string name) => !_names.Contains(name);

        public void Add(string name) => _names.Add(name);

        public void Clear(string name) => _names.Remove(name);

        public void Flow(string from, string into)
        {
            if (_names.Contains(from))
                _names.Add(into);
        }
    }
}
