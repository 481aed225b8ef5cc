using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Ledger.Reading;

/// <summary>The part of a volume that a question about changes is limited to.</summary>
/// <param name="Offset">First byte; null for the beginning.</param>
/// <param name="Length">Bytes from there on; null for the rest.</param>
public sealed record ChangedWindow(long? Offset, long? Length)
{
    private const long BlocksMax = 64L << 23;

    /// <summary>The answer within the window, in the form that was asked for.</summary>
    /// <param name="whole">The answer for the whole volume, with extents.</param>
    /// <param name="format"><c>extents</c>, <c>blocks</c>, <c>bitmap</c>, or null for extents.</param>
    /// <exception cref="LedgerException">The window, or the format, cannot be.</exception>
    public ChangedAnswer Of(ChangedAnswer whole, string? format)
    {
        var (size, grain) = (whole.Size.To, whole.Granularity);
        var start = Offset ?? 0;
        if (start < 0 || start >= size || Length is <= 0)
            throw new LedgerException(
                ErrorCode.BadArgument,
                $"offset {start}{(Length is { } bytes ? $", length {bytes}" : "")} is not inside volume '{whole.Volume}' of {size} bytes");
        var end = start + Math.Min(Length ?? size, size - start);
        var extents = whole.Extents!.Where(e => e.Offset < end && e.Offset + e.Length > start).Select(e =>
        {
            var from = Math.Max(e.Offset, start);
            return new ExtentAnswer(from, Math.Min(e.Offset + e.Length, end) - from);
        });
        var clipped = whole with { Extents = null, ChangedBytes = extents.Sum(e => e.Length) };
        return format switch
        {
            null or "extents" => clipped with { Extents = extents },
            "blocks" => clipped with { Blocks = Blocks(extents, grain) },
            "bitmap" => clipped with { Bitmap = Bits(extents, grain, size) },
            _ => throw new LedgerException(ErrorCode.BadArgument, $"'{format}' is no format", "take extents, blocks or bitmap"),
        };
    }

    private static IEnumerable<long> Blocks(IEnumerable<ExtentAnswer> extents, long grain)
    {
        foreach (var extent in extents)
            for (var block = extent.Offset / grain; block * grain < extent.Offset + extent.Length; block++)
                yield return block;
    }

    /// <summary>The bits of the whole volume, so that a bit stands where it always does; those outside are clear.</summary>
    private static byte[] Bits(IEnumerable<ExtentAnswer> extents, long grain, long size)
    {
        var count = (size - 1) / grain + 1;
        if (count > BlocksMax)
            throw new LedgerException(
                ErrorCode.BadArgument, $"a bitmap of {count} blocks is more than {BlocksMax}", "take a coarser granularity or format extents");
        var bits = new byte[(count + 7) / 8];
        foreach (var block in Blocks(extents, grain))
            bits[block >> 3] |= (byte)(1 << (int)(block & 7));
        return bits;
    }
}
