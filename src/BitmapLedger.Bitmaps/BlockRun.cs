namespace BitmapLedger.Bitmaps;

/// <summary>A half-open run of blocks, <c>[First, First + Count)</c>, in units of some
/// <see cref="Granularity"/>.</summary>
/// <param name="First">Index of the first block.</param>
/// <param name="Count">Number of blocks.</param>
public readonly record struct BlockRun(long First, long Count)
{
    /// <summary>Index of the first block behind the run.</summary>
    public long End => First + Count;
}
