namespace BitmapLedger.Bitmaps;

/// <summary>A bitmap was asked for that needs more bits than this product keeps.</summary>
/// <param name="volumeBytes">Size of the volume in bytes.</param>
/// <param name="granularity">Bytes a bit.</param>
public sealed class BitmapTooLargeException(long volumeBytes, Granularity granularity)
    : BitmapLedgerException(
        $"A bitmap of {volumeBytes} bytes at {granularity.Bytes} bytes a bit needs more than {NativeBitmap.BlocksMax} bits; " +
        "take a coarser granularity")
{
    /// <inheritdoc />
    public override string Code => "bad-argument";
}
