using BitmapLedger.Testing;

namespace BitmapLedger.Simulation.Tests;

/// <summary>The machine has stopped, or the process was killed: nothing after it happens.</summary>
internal sealed class SimulatedCrashException() : Exception("crash");

/// <summary>Something that must never be was seen.</summary>
internal sealed class ViolationException(string what) : Exception(what);

/// <summary>
/// Chance, time and the moment of the next crash. Every change of a disk asks here first whether it still happens.
/// </summary>
internal sealed class World(int seed, Mutant mutant)
{
    private long _crashAt = long.MaxValue;
    private int _faultEvery;

    public Random Random { get; } = new(seed);

    public Mutant Mutant { get; } = mutant;

    public ManualClock Clock { get; } = new(DateTimeOffset.UnixEpoch.AddDays(20_000));

    /// <summary>Changes of disks so far.</summary>
    public long Changes { get; private set; }

    /// <summary>Whether nothing happens any more until <see cref="Restart"/>.</summary>
    public bool IsDown { get; private set; }

    /// <summary>Errors that disks gave so far.</summary>
    public int Faults { get; private set; }

    /// <summary>Whether a disk has lost what it had.</summary>
    public bool HasLied { get; set; }

    public bool Chance(int of) => Random.Next(of) == 0;

    /// <summary>The process runs again; it crashes after so many changes, and a disk fails once in so many.</summary>
    public void Restart(long? crashAfter, int faultEvery)
    {
        IsDown = false;
        _crashAt = crashAfter is { } after ? Changes + after : long.MaxValue;
        _faultEvery = faultEvery;
        Clock.Now = Clock.Now.AddSeconds(Random.Next(-5, 60));
    }

    /// <summary>The crash comes now, whatever was planned.</summary>
    public void GoDown() => IsDown = true;

    /// <summary>One change of a disk. Where the crash is due, <paramref name="inPart"/> is what still happens of it.</summary>
    public void Change(Action inPart)
    {
        if (IsDown)
            throw new SimulatedCrashException();
        if (Changes++ < _crashAt)
            return;
        IsDown = true;
        inPart();
        throw new SimulatedCrashException();
    }

    /// <summary>Whether a disk refuses this change.</summary>
    public bool Fails()
    {
        if (_faultEvery == 0 || Random.Next(_faultEvery) != 0)
            return false;
        Faults++;
        // What a process was told and had no time to pass on is where mistakes hide.
        if (Chance(3))
            _crashAt = Math.Min(_crashAt, Changes + Random.Next(4));
        return true;
    }
}
