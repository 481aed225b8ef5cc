namespace BitmapLedger.Simulation.Tests;

/// <summary>A file's bytes as processes see them, and as the disk has them, sector by sector.</summary>
/// <param name="path">Path that it was made under.</param>
internal sealed class SimulatedInode(string path)
{
    public const int Sector = 512;

    private readonly Dictionary<int, List<byte[]>> _dirty = [];
    private readonly HashSet<int> _unreadable = [];
    private byte[] _cache = [];
    private byte[] _disk = [];
    private int _diskLength;

    /// <summary>The name that it was made under.</summary>
    public string Name { get; } = Path.GetFileName(path);

    /// <summary>The directory that it was made in.</summary>
    public string Directory { get; } = Path.GetDirectoryName(path)!;

    /// <summary>Whether it got its final name.</summary>
    public bool IsInUse { get; set; }

    public int Length { get; private set; }

    public int Read(Span<byte> target, long offset)
    {
        var count = (int)Math.Clamp(Length - offset, 0, target.Length);
        RequireReadable(offset, count);
        _cache.AsSpan((int)Math.Min(offset, Length), count).CopyTo(target);
        return count;
    }

    public void Resize(int length)
    {
        if (_cache.Length < length)
        {
            var bytes = (length + Sector - 1) / Sector * Sector;
            Array.Resize(ref _cache, bytes);
            Array.Resize(ref _disk, bytes);
        }

        Length = Math.Max(Length, length);
    }

    public void Write(ReadOnlySpan<byte> source, long offset)
    {
        if (source.Length == 0)
            return;
        Resize((int)offset + source.Length);
        // No sector is written in part that was not read before.
        RequireReadable(offset, source.Length);
        source.CopyTo(_cache.AsSpan((int)offset));
        for (var sector = (int)offset / Sector; sector <= ((int)offset + source.Length - 1) / Sector; sector++)
        {
            if (!_dirty.TryGetValue(sector, out var versions))
                _dirty[sector] = versions = [];
            versions.Add(_cache.AsSpan(sector * Sector, Sector).ToArray());
        }
    }

    public void Sync()
    {
        foreach (var (sector, versions) in _dirty)
            versions[^1].CopyTo(_disk, sector * Sector);
        _dirty.Clear();
        _diskLength = Length;
    }

    /// <summary>Some of it reaches the disk, and the system takes all of it for written.</summary>
    public void FailSync(Random random)
    {
        foreach (var (sector, versions) in _dirty)
            if (random.Next(2) == 0)
                versions[random.Next(versions.Count)].CopyTo(_disk, sector * Sector);
        _dirty.Clear();
        _diskLength = random.Next(2) == 0 ? Length : _diskLength;
    }

    /// <summary>What the disk has.</summary>
    public ReadOnlySpan<byte> OnDisk => _disk.AsSpan(0, _diskLength);

    /// <summary>Whether the disk has all of a sector that was written.</summary>
    public bool IsOnDisk(int sector) => !_dirty.ContainsKey(sector);

    /// <summary>The disk has lost a sector that it had, and reads it back as zeroes.</summary>
    public void Zero(int sector)
    {
        _disk.AsSpan(sector * Sector, Sector).Clear();
        _cache.AsSpan(sector * Sector, Sector).Clear();
    }

    /// <summary>A sector cannot be read any more.</summary>
    public void Spoil(int sector) => _unreadable.Add(sector);

    /// <summary>The disk has turned a bit.</summary>
    public void Flip(int at, int bit)
    {
        _disk[at] ^= (byte)(1 << bit);
        _cache[at] = _disk[at];
    }

    /// <summary>The disk has lost the end.</summary>
    public void Truncate(int length)
    {
        Length = _diskLength = length;
        _disk.AsSpan(length).Clear();
        _cache.AsSpan(length).Clear();
    }

    public void Evict(Random random)
    {
        for (var sector = 0; sector < _cache.Length / Sector; sector++)
            if (!_dirty.ContainsKey(sector) && random.Next(4) == 0)
                _disk.AsSpan(sector * Sector, Sector).CopyTo(_cache.AsSpan(sector * Sector));
    }

    public void LosePower(Random random)
    {
        foreach (var (sector, versions) in _dirty)
            if (random.Next(versions.Count + 1) is var kept && kept < versions.Count)
                versions[kept].CopyTo(_disk, sector * Sector);
        _dirty.Clear();
        if (random.Next(2) == 0)
            _diskLength = Length;
        Length = _diskLength;
        _disk.AsSpan(Length).Clear();
        _disk.CopyTo(_cache, 0);
    }

    private void RequireReadable(long offset, int count)
    {
        if (_unreadable.Any(s => s * Sector < offset + count && offset < (s + 1) * Sector))
            throw new IOException("input/output error");
    }
}
