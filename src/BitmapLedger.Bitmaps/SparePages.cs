using System.Numerics;

namespace BitmapLedger.Bitmaps;

/// <summary>
/// Memory of maps that went lately, zeroed, for the next ones: each question makes and drops a map, and a page that the kernel has
/// to bring costs a hundred times what it takes to clear one. Any thread.
/// </summary>
internal static class SparePages
{
    private const nuint LengthMin = 64 << 10;

    /// <summary>Longer memory is mostly untouched: clearing it would bring its pages.</summary>
    private const nuint LengthMax = 4 << 20;

    /// <summary>So many are spare at most, 16 MiB if all are of the greatest length.</summary>
    private const int CountMax = 4;

    private static readonly Lock _lock = new();

    /// <summary>The latest last.</summary>
    private static readonly List<(nint Address, nuint Length)> _spare = [];

    /// <summary>The length to reserve, so that memory of about the same length is of use to each other.</summary>
    public static nuint Rounded(nuint length) =>
        length is < LengthMin or > LengthMax ? length : BitOperations.RoundUpToPowerOf2(length);

    /// <summary>Spare memory of a rounded length, all zeroes; 0 when there is none.</summary>
    public static nint Take(nuint length)
    {
        lock (_lock)
        {
            var found = _spare.FindLastIndex(s => s.Length == length);
            if (found < 0)
                return 0;
            var address = _spare[found].Address;
            _spare.RemoveAt(found);
            return address;
        }
    }

    /// <summary>Whether memory of a rounded length is kept.</summary>
    public static bool Keeps(nuint length) => length is >= LengthMin and <= LengthMax;

    /// <summary>Keeps memory of a rounded length, all zeroes, that nobody uses any more.</summary>
    /// <returns>What goes to the kernel for it; address 0 while there is room.</returns>
    public static (nint Address, nuint Length) Keep(nint address, nuint length)
    {
        lock (_lock)
        {
            _spare.Add((address, length));
            if (_spare.Count <= CountMax)
                return default;
            var oldest = _spare[0];
            _spare.RemoveAt(0);
            return oldest;
        }
    }
}
