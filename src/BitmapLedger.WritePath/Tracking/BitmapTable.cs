using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>
/// The bits of a volume: one live map that every write marks, the maps that rotations swapped out, and the bitmaps. The
/// bits of a bitmap are its base and, if it records, every map that is not folded into the bases yet.
/// </summary>
/// <remarks>Writers read <see cref="Live"/> inside the gate; everything else is under one lock.</remarks>
internal sealed partial class BitmapTable(long size) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly List<SwappedMap> _swapped = [];
    private List<TrackedBitmap> _bitmaps = [];
    private NativeBitmap _live = new(size, Granularity.Default);
    private bool _complete;
    private bool _disposed;
    private long _cuts;

    public NativeBitmap Live => Volatile.Read(ref _live);

    /// <summary>Whether the bitmaps were given since this process started.</summary>
    public bool Complete
    {
        get
        {
            lock (_lock)
                return _complete;
        }
    }

    /// <summary>The bitmaps that clients may see: what records in place of one that a job uses has a name that none can
    /// have.</summary>
    public IReadOnlyList<string> Names
    {
        get
        {
            lock (_lock)
                return _complete ? [.. _bitmaps.Select(b => b.Name).Where(n => !n.Contains('\0'))] : [];
        }
    }

    /// <summary>Swaps the live map for an empty one. The gate is closed.</summary>
    /// <param name="fence">Number of the fence.</param>
    /// <param name="next">Granularity of the empty one.</param>
    /// <param name="bytes">Size of the volume from now on.</param>
    public void Swap(long fence, Granularity next, long bytes)
    {
        var empty = new NativeBitmap(bytes, next);
        lock (_lock)
        {
            foreach (var watch in _watches)
                watch.Resize(_live.VolumeBytes, bytes);
            _swapped.Add(new(++_cuts, fence, _live));
            Volatile.Write(ref _live, empty);
        }
    }

    /// <summary>Folds every swapped map up to the fence, then replaces the bitmaps by what the Server says they
    /// are.</summary>
    /// <param name="fence">The fence that <paramref name="sources"/> stand at.</param>
    /// <param name="sources">The whole table.</param>
    /// <param name="files">Bits that came as a file, by name of the bitmap; taken over.</param>
    /// <returns>A bitmap named in <see cref="BitmapSource.From"/> that does not exist; null when all is done.</returns>
    public string? Settle(
        long fence, IReadOnlyList<BitmapSource> sources, IReadOnlyDictionary<string, NativeBitmap> files)
    {
        lock (_lock)
        {
            var unknown = sources.SelectMany(s => s.From).FirstOrDefault(f => _bitmaps.TrueForAll(b => b.Name != f.Name));
            if (unknown is not null)
                return unknown.Name;
            Fold(fence);
            var bytes = VolumeBytesAfter(fence);
            Fit(bytes);
            var before = _bitmaps;
            _bitmaps = [.. sources.Select(s => Build(s, before, files.GetValueOrDefault(s.Name), bytes))];
            foreach (var gone in before.Where(b => _bitmaps.TrueForAll(n => !ReferenceEquals(n.Base, b.Base))))
                gone.Base.Dispose();
            _complete = true;
            return null;
        }
    }

    /// <summary>Digests as of a fence: what was written after it stays out.</summary>
    public List<BitmapDigest> Digest(long fence)
    {
        lock (_lock)
        {
            Fold(fence);
            return [.. _bitmaps.Select(b => new BitmapDigest(b.Name, b.Base.DirtyBytes, b.Base.Sha256()))];
        }
    }

    /// <summary>Bits as they are now, every write so far included.</summary>
    /// <param name="name">The bitmap that is wanted; null for all.</param>
    /// <param name="withSha256">Whether digests are wanted.</param>
    /// <returns>None while it is not known what they are.</returns>
    public List<BitmapDigest> DigestLive(string? name, bool withSha256)
    {
        lock (_lock)
        {
            // Behind a cut to another size the bitmaps have the old one until they are settled.
            return _complete && _bitmaps.TrueForAll(b => b.Base.VolumeBytes == _live.VolumeBytes)
                && _swapped.TrueForAll(s => s.Map.VolumeBytes == _live.VolumeBytes)
                ? [.. _bitmaps.Where(b => name is null || b.Name == name).Select(b => DigestLive(b, withSha256))]
                : [];
        }
    }

    /// <summary>The bits of a bitmap as of a fence, encoded: what was written after it stays out.</summary>
    /// <returns>Null when there is no such bitmap.</returns>
    public byte[]? Encode(long fence, string name)
    {
        lock (_lock)
        {
            Fold(fence);
            return _bitmaps.Find(b => b.Name == name) is { } bitmap ? BitmapCodec.Encode(bitmap.Base) : null;
        }
    }

    /// <summary>Whether a byte is dirty now, and how far it is the same; null when the bitmap is not there.</summary>
    public bool? IsDirty(string name, long offset, long end, out long until)
    {
        lock (_lock)
        {
            until = end;
            if (!_complete || _bitmaps.Find(b => b.Name == name) is not { } bitmap)
                return null;
            var union = new DirtyUnion(offset, end, bitmap.Base.Granularity);
            union.Add(bitmap.Base);
            if (bitmap.Recording)
            {
                union.Add(_live);
                foreach (var swapped in _swapped)
                    union.Add(swapped.Map);
            }

            return union.IsDirty(out until);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _live.Dispose();
            foreach (var swapped in _swapped)
                swapped.Map.Dispose();
            foreach (var watch in _watches)
                watch.Dispose();
            _watches.Clear();
            foreach (var bitmap in _bitmaps)
                bitmap.Base.Dispose();
        }
    }

    private BitmapDigest DigestLive(TrackedBitmap bitmap, bool withSha256)
    {
        using NativeBitmap now = new(bitmap.Base.VolumeBytes, bitmap.Base.Granularity);
        now.UnionWith(bitmap.Base);
        if (bitmap.Recording)
        {
            now.UnionWith(_live);
            foreach (var swapped in _swapped)
                now.UnionWith(swapped.Map);
        }

        return new(bitmap.Name, now.DirtyBytes, withSha256 ? now.Sha256() : "");
    }

    private void Fold(long fence)
    {
        foreach (var (cut, _, map) in _swapped.Where(s => s.Fence <= fence))
        {
            Fit(map.VolumeBytes);
            foreach (var bitmap in _bitmaps.Where(b => b.Recording))
                bitmap.Base.UnionWith(map);
            foreach (var watch in _watches.Where(w => w.Cut < cut))
                watch.Fold(map);
            map.Dispose();
        }

        _swapped.RemoveAll(s => s.Fence <= fence);
    }

    /// <summary>The volume had another size from here on.</summary>
    private void Fit(long bytes)
    {
        for (var i = 0; i < _bitmaps.Count; i++)
        {
            if (_bitmaps[i].Base is not { } old || old.VolumeBytes == bytes)
                continue;
            _bitmaps[i] = _bitmaps[i] with { Base = old.Resized(bytes) };
            old.Dispose();
        }
    }

    /// <summary>Size of the volume right behind a fence: a later rotation may have given it another one.</summary>
    private long VolumeBytesAfter(long fence) => (_swapped.Find(s => s.Fence > fence)?.Map ?? _live).VolumeBytes;

    private static TrackedBitmap Build(BitmapSource source, List<TrackedBitmap> before, NativeBitmap? file, long bytes)
    {
        var granularity = Granularity.FromBytes(source.Granularity);
        // The usual case by far: the bitmap is as it was.
        if (file is null && source.From is [var only] && only.Name == source.Name
            && before.Find(b => b.Name == only.Name) is { } same && same.Base.Granularity == granularity)
            return same with { Recording = source.Recording };

        var bits = file is not null && file.Granularity == granularity ? file : new NativeBitmap(bytes, granularity);
        if (file is not null && !ReferenceEquals(bits, file))
        {
            bits.UnionWith(file);
            file.Dispose();
        }

        foreach (var from in source.From)
            bits.UnionWith(before.First(b => b.Name == from.Name).Base, Granularity.FromBytes(from.Through));
        return new(source.Name, source.Recording, bits);
    }

    /// <summary>A live map of before.</summary>
    /// <param name="Cut">Number of the cut that swapped it out, 1, 2, 3 …</param>
    /// <param name="Fence">The fence that it stands before.</param>
    /// <param name="Map">It.</param>
    private sealed record SwappedMap(long Cut, long Fence, NativeBitmap Map);
}
