using System.Buffers.Binary;
using BitmapLedger.Journal;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.Simulation.Tests;

/// <summary>
/// The disk that a volume's data lies on: for each sector the number of the write that was there last, as clients see it
/// and as
/// the disk has it.
/// </summary>
internal sealed class SimulatedData(World world, int sectors) : IBackend
{
    private readonly long[] _cache = new long[sectors];
    private readonly long[] _disk = new long[sectors];
    private readonly Dictionary<int, List<long>> _dirty = [];
    private bool _hasForgotten;

    public long Size => sectors * (long)SimulatedInode.Sector;

    /// <summary>What clients see.</summary>
    public ReadOnlySpan<long> Seen => _cache;

    /// <summary>Called when a write has come here and before it is done: others may do something meanwhile.</summary>
    public Action OnWrite { get; set; } = () => { };

    /// <summary>Called when the data of a write has gone out.</summary>
    public Action AfterWrite { get; set; } = () => { };

    /// <summary>The same of a flush.</summary>
    public Action OnFlush { get; set; } = () => { };

    /// <summary>For a mutant: writes went out already.</summary>
    public bool IsWritten { get; set; }

    /// <summary>For a mutant: flushes do nothing.</summary>
    public bool SkipsFlush { get; set; }

    public FileIdentity Identity() => default;

    public int Read(long offset, Span<byte> target) => 0;

    public bool TryReadNoWait(long offset, Span<byte> target) => true;

    public int Write(long offset, ReadOnlySpan<byte> source)
    {
        var values = new long[source.Length / SimulatedInode.Sector];
        for (var i = 0; i < values.Length; i++)
            values[i] = BinaryPrimitives.ReadInt64LittleEndian(source[(i * SimulatedInode.Sector)..]);
        return Write(offset, values);
    }

    public int WriteZeroes(long offset, long length, bool mayPunchHole, bool fast) =>
        Write(offset, new long[length / SimulatedInode.Sector]);

    public int Trim(long offset, long length) => Write(offset, new long[length / SimulatedInode.Sector]);

    public int Write(long offset, long[] values)
    {
        OnWrite();
        if (IsWritten)
            return 0;
        world.Change(() => Put(offset, values.AsSpan(0, world.Random.Next(values.Length + 1))));
        if (!world.Fails())
        {
            Put(offset, values);
            AfterWrite();
            return 0;
        }

        Put(offset, values.AsSpan(0, world.Random.Next(values.Length)));
        return NbdErrno.InputOutput;
    }

    public int Flush()
    {
        OnFlush();
        world.Change(() => { });
        if (SkipsFlush)
            return 0;
        var fails = world.Fails();
        _hasForgotten |= fails;
        foreach (var (sector, versions) in _dirty)
            if (!fails || world.Chance(2))
                _disk[sector] = versions[^1];
        _dirty.Clear();
        return fails ? NbdErrno.InputOutput : 0;
    }

    public bool HasForgotten()
    {
        var told = _hasForgotten;
        _hasForgotten = false;
        return told;
    }

    public void ForgetUnwritten()
    {
        for (var sector = 0; sector < sectors; sector++)
            if (!_dirty.ContainsKey(sector))
                _cache[sector] = _disk[sector];
    }

    public void Resize(long before, long bytes) => throw new BackendException("unsupported", "simulated data keeps its size");

    public bool IsHole(long offset, long end, out long until)
    {
        until = end;
        return false;
    }

    public void Dispose()
    {
    }

    public void LosePower()
    {
        foreach (var (sector, versions) in _dirty)
            if (world.Random.Next(versions.Count + 1) is var kept && kept < versions.Count)
                _disk[sector] = versions[kept];
        _dirty.Clear();
        _disk.CopyTo(_cache, 0);
    }

    /// <summary>Memory runs short: what a failed flush has left in it and not on the disk may go.</summary>
    public void Evict()
    {
        for (var sector = 0; sector < sectors; sector++)
            if (!_dirty.ContainsKey(sector) && world.Chance(4))
                _cache[sector] = _disk[sector];
    }

    private void Put(long offset, ReadOnlySpan<long> values)
    {
        for (var i = 0; i < values.Length; i++)
        {
            var sector = (int)(offset / SimulatedInode.Sector) + i;
            if (!_dirty.TryGetValue(sector, out var versions))
                _dirty[sector] = versions = [];
            versions.Add(_cache[sector] = values[i]);
        }
    }
}
