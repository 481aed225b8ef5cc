namespace BitmapLedger.Bitmaps;

/// <summary>How many bytes of the volume one bit stands for. Always a power of two, 512 B to 2 GiB (as in
/// QEMU).</summary>
public readonly record struct Granularity : IComparable<Granularity>
{
    /// <summary>Smallest <see cref="Shift"/>: 512 B, one sector.</summary>
    public const int ShiftMin = 9;

    /// <summary>Largest <see cref="Shift"/>: 2 GiB, what QEMU's 32-bit granularity can carry.</summary>
    public const int ShiftMax = 31;

    private readonly byte _shiftAboveMin;

    private Granularity(int shift) => _shiftAboveMin = (byte)(shift - ShiftMin);

    /// <summary>64 KiB: what QEMU and this product take when none is named.</summary>
    public static Granularity Default { get; } = new(16);

    /// <summary>512 B, the finest there is; also the value of <c>default</c>.</summary>
    public static Granularity Finest => default;

    /// <summary>Base-two logarithm of the block length: <c>blockIndex = offsetBytes >> Shift</c>.</summary>
    public int Shift => _shiftAboveMin + ShiftMin;

    /// <summary>Length of a block in bytes.</summary>
    public long Bytes => 1L << Shift;

    /// <summary>True when <paramref name="bytes"/> is a power of two from 512 B to 2 GiB.</summary>
    public static bool IsValid(long bytes) => long.IsPow2(bytes) && long.Log2(bytes) is >= ShiftMin and <= ShiftMax;

    /// <summary>The granularity of <paramref name="bytes"/> a block.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not a power of two from 512 B to 2 GiB.</exception>
    public static Granularity FromBytes(long bytes)
    {
        if (!IsValid(bytes))
            throw new ArgumentOutOfRangeException(
                nameof(bytes), bytes, "Granularity must be a power of two from 512 B to 2 GiB.");

        return new((int)long.Log2(bytes));
    }

    /// <summary>The granularity whose <see cref="Shift"/> is <paramref name="shift"/>, 9 to 31.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Outside 9 to 31.</exception>
    public static Granularity FromShift(int shift)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(shift, ShiftMin);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(shift, ShiftMax);
        return new(shift);
    }

    /// <summary>Blocks needed to cover <paramref name="volumeBytes"/>; a partial last block counts as one.</summary>
    public long BlockCount(long volumeBytes) => (volumeBytes >> Shift) + ((volumeBytes & (Bytes - 1)) != 0 ? 1 : 0);

    /// <summary>Finer sorts first.</summary>
    public int CompareTo(Granularity other) => _shiftAboveMin.CompareTo(other._shiftAboveMin);

    /// <summary>True when <paramref name="left"/> is finer than <paramref name="right"/>.</summary>
    public static bool operator <(Granularity left, Granularity right) => left.CompareTo(right) < 0;

    /// <summary>True when <paramref name="left"/> is coarser than <paramref name="right"/>.</summary>
    public static bool operator >(Granularity left, Granularity right) => left.CompareTo(right) > 0;

    /// <summary>True when <paramref name="left"/> is not coarser than <paramref name="right"/>.</summary>
    public static bool operator <=(Granularity left, Granularity right) => left.CompareTo(right) <= 0;

    /// <summary>True when <paramref name="left"/> is not finer than <paramref name="right"/>.</summary>
    public static bool operator >=(Granularity left, Granularity right) => left.CompareTo(right) >= 0;
}
