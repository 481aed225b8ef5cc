namespace BitmapLedger.Ledger.Indexing;

/// <summary>How much of the histories was read to answer questions, since the start. Any thread.</summary>
public sealed class HistoryReads
{
    private long _rows;
    private long _bytes;

    /// <summary>Events, nodes and parts of them.</summary>
    public long Rows => Interlocked.Read(ref _rows);

    /// <summary>Bytes of their data.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    internal void Add(long bytes)
    {
        Interlocked.Increment(ref _rows);
        Interlocked.Add(ref _bytes, bytes);
    }
}
