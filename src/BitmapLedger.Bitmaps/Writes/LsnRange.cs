namespace BitmapLedger.Bitmaps.Writes;

/// <summary>LSNs from <paramref name="First"/> to <paramref name="Last"/>, both included.</summary>
/// <param name="First">First LSN.</param>
/// <param name="Last">Last LSN.</param>
public readonly record struct LsnRange(long First, long Last)
{
    /// <summary>How many LSNs it spans.</summary>
    public long Count => Last - First + 1;
}
