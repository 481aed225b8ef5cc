namespace BitmapLedger.Qmp.Json;

/// <summary>
/// What the unfinished messages of all clients together may hold in memory, so that many clients that begin a large
/// message and never end it cannot take it all. A small message costs nothing here. Any number of threads.
/// </summary>
/// <param name="bytes">Most bytes.</param>
public sealed class MessageBudget(long bytes)
{
    /// <summary>Room for three messages of the size that QEMU allows at most.</summary>
    public const long BytesDefault = 256L << 20;

    private long _left = bytes;

    /// <summary>Takes some; false when there is not so much left, and then nothing was taken.</summary>
    /// <param name="wanted">Bytes, before they are allocated.</param>
    public bool TryTake(long wanted)
    {
        if (Interlocked.Add(ref _left, -wanted) >= 0)
            return true;
        Give(wanted);
        return false;
    }

    /// <summary>Gives back what was taken.</summary>
    /// <param name="taken">Bytes.</param>
    public void Give(long taken) => Interlocked.Add(ref _left, taken);
}
