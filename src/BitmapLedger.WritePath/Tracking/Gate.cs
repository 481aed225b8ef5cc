namespace BitmapLedger.WritePath.Tracking;

/// <summary>
/// What every write passes and every rotation closes. A writer is inside from before its mark until the backend has
/// answered; a closed gate lets nobody in and waits until all have left. So a map that is swapped while the gate is
/// closed has no writer that could still mark the old one.
/// </summary>
/// <remarks>
/// Each writer has a cache line of its own: entering costs one locked instruction and shares nothing with other
/// writers.
/// A writer announces itself, then looks at the gate; a closer shuts the gate, then looks at the writers; the full
/// fences
/// between make it impossible that both miss each other.
/// </remarks>
public sealed class Gate : IDisposable
{
    /// <summary>Most writers of a volume at once.</summary>
    public const int WritersMax = 1024;

    /// <summary>Two cache lines: the processor fetches them in pairs.</summary>
    private const int Stride = 128 / sizeof(long);

    private readonly long[] _inside = new long[WritersMax * Stride];
    private readonly Stack<int> _free = new(Enumerable.Range(0, WritersMax).Reverse());
    private readonly ManualResetEventSlim _opened = new(initialState: true);
    private int _closed;

    /// <summary>A place for a writer, or -1 when all are taken.</summary>
    public int Register()
    {
        lock (_free)
            return _free.TryPop(out var writer) ? writer : -1;
    }

    /// <summary>Gives a place back; its writer is outside.</summary>
    public void Unregister(int writer)
    {
        lock (_free)
            _free.Push(writer);
    }

    /// <summary>Goes in, waiting while the gate is closed. Not reentrant.</summary>
    public void Enter(int writer)
    {
        ref var inside = ref _inside[writer * Stride];
        while (true)
        {
            Interlocked.Exchange(ref inside, 1);
            if (Volatile.Read(ref _closed) == 0)
                return;
            Volatile.Write(ref inside, 0);
            _opened.Wait();
        }
    }

    /// <summary>Goes out.</summary>
    public void Leave(int writer) => Volatile.Write(ref _inside[writer * Stride], 0);

    /// <summary>Closes the gate and waits until nobody is inside. One closer at a time.</summary>
    /// <param name="limit">How long to wait.</param>
    /// <param name="clock">Measures it.</param>
    /// <returns>False when somebody stayed too long: then the gate is open again.</returns>
    public bool TryClose(TimeSpan limit, TimeProvider clock)
    {
        _opened.Reset();
        Interlocked.Exchange(ref _closed, 1);
        var start = clock.GetTimestamp();
        for (var writer = 0; writer < WritersMax; writer++)
        {
            var spin = new SpinWait();
            while (Volatile.Read(ref _inside[writer * Stride]) != 0)
            {
                if (clock.GetElapsedTime(start) > limit)
                {
                    Open();
                    return false;
                }

                // A writer is inside for the length of its batch; sleeping a millisecond would be the longer wait.
                spin.SpinOnce(sleep1Threshold: -1);
            }
        }

        return true;
    }

    /// <summary>Opens the gate.</summary>
    public void Open()
    {
        Volatile.Write(ref _closed, 0);
        _opened.Set();
    }

    /// <summary>Nobody waits any more.</summary>
    public void Dispose() => _opened.Dispose();
}
