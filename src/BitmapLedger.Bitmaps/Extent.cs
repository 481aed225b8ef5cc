namespace BitmapLedger.Bitmaps;

/// <summary>A half-open stretch of a volume, <c>[Offset, Offset + Length)</c>, in bytes.</summary>
/// <param name="Offset">First byte, from the start of the volume.</param>
/// <param name="Length">Length in bytes.</param>
public readonly record struct Extent(long Offset, long Length)
{
    /// <summary>First byte behind the extent.</summary>
    public long End => Offset + Length;
}
