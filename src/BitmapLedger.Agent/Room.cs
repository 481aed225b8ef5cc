namespace BitmapLedger.Agent;

/// <summary>So many clients may be connected at a time; the next one is accepted when one has left, as QEMU does it.</summary>
/// <param name="places">How many, above 0.</param>
internal sealed class Room(long places)
{
    private readonly object _changed = new();
    private long _taken;
    private bool _closed;

    /// <summary>Waits for a place; false when there will be none any more.</summary>
    public bool Enter()
    {
        lock (_changed)
        {
            while (!_closed && _taken == places)
                Monitor.Wait(_changed);
            _taken++;
            return !_closed;
        }
    }

    /// <summary>Gives a place back.</summary>
    public void Leave()
    {
        lock (_changed)
        {
            _taken--;
            Monitor.PulseAll(_changed);
        }
    }

    /// <summary>Nobody waits any more.</summary>
    public void Close()
    {
        lock (_changed)
        {
            _closed = true;
            Monitor.PulseAll(_changed);
        }
    }
}
