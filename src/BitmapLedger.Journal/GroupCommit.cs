namespace BitmapLedger.Journal;

/// <summary>
/// One sync serves all who wait: whoever comes while one runs waits for the next, which one of the waiting begins. So
/// each
/// caller gets a sync that began after its call. Allocates nothing.
/// </summary>
/// <param name="commit">Does it; false when it failed.</param>
public sealed class GroupCommit(Func<bool> commit)
{
    private readonly object _turn = new();
    private long _started;
    private long _finished;
    private bool _running;
    private bool _succeeded;

    /// <summary>Returns when a sync that began after this call has ended.</summary>
    /// <returns>Whether it succeeded.</returns>
    public bool Run()
    {
        lock (_turn)
        {
            var mine = _started + 1;
            while (_running && _finished < mine)
                Monitor.Wait(_turn);
            if (_finished >= mine)
                return _succeeded;
            _running = true;
            _started++;
        }

        var succeeded = false;
        try
        {
            return succeeded = commit();
        }
        finally
        {
            lock (_turn)
            {
                _running = false;
                _finished = _started;
                _succeeded = succeeded;
                Monitor.PulseAll(_turn);
            }
        }
    }
}
