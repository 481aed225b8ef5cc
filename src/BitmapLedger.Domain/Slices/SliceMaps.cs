using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>The bits of the slices of a volume. Those that were read from somewhere stay encoded until somebody needs
/// them.</summary>
internal sealed class SliceMaps : IDisposable
{
    private readonly Dictionary<SliceName, byte[]> _encoded = [];
    private readonly Dictionary<SliceName, NativeBitmap> _maps = [];
    private readonly HashSet<SliceName> _changed = [];

    /// <summary>Slices whose bits changed, came or went since they were read.</summary>
    public IReadOnlyCollection<SliceName> Changed => _changed;

    /// <summary>Bytes that all of them take in memory at most.</summary>
    public long TotalBytesMax => _encoded.Values.Sum(e => (long)e.Length) + _maps.Values.Sum(BytesMax);

    /// <summary>Bytes of memory of a map with a bit in every page: its leaves and a 64th of them above.</summary>
    public static long BytesMax(NativeBitmap map) => map.BlockCount / 8 / 63 * 64 + 4096;

    public void ForgetChanged() => _changed.Clear();

    public void Read(SliceName name, byte[] encoded) => _encoded[name] = encoded;

    /// <summary>Takes over the bits of a slice that is banked.</summary>
    public void Add(SliceName name, NativeBitmap bits)
    {
        _maps[name] = bits;
        _changed.Add(name);
    }

    /// <summary>The bits; they stay here.</summary>
    public NativeBitmap Bits(SliceName name)
    {
        if (!_maps.TryGetValue(name, out var map))
            _maps[name] = map = GivenBits.Read(_encoded[name]);
        return map;
    }

    public byte[] Encode(SliceName name) =>
        _maps.TryGetValue(name, out var map) ? BitmapCodec.Encode(map) : _encoded[name];

    public void Union(SliceName name, NativeBitmap more)
    {
        Bits(name).UnionWith(more);
        _changed.Add(name);
    }

    public void Resize(SliceName name, long size)
    {
        var old = Bits(name);
        Add(name, old.Resized(size));
        old.Dispose();
    }

    public void Remove(SliceName name)
    {
        _encoded.Remove(name);
        if (_maps.Remove(name, out var gone))
            gone.Dispose();
        _changed.Add(name);
    }

    public void Dispose()
    {
        foreach (var map in _maps.Values)
            map.Dispose();
    }
}
