using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Ledger.Reading;

/// <summary>The bits of an answer in the form that was asked for; the others stay null. Extents and blocks are read from the map
/// each time they are gone through, so it must be there until then.</summary>
/// <param name="Extents">Format <c>extents</c>.</param>
/// <param name="Blocks">Format <c>blocks</c>.</param>
/// <param name="Bitmap">Format <c>bitmap</c>.</param>
public sealed record BitFormat(IEnumerable<ExtentAnswer>? Extents, IEnumerable<long>? Blocks, byte[]? Bitmap)
{
    /// <summary>Most bytes of an answer in format <c>bitmap</c>.</summary>
    private const long BitmapBytesMax = 64 << 20;

    /// <summary>Shows a map.</summary>
    /// <exception cref="LedgerException">The format is not known, or the answer would be too large.</exception>
    public static BitFormat Of(NativeBitmap map, string? format) => format switch
    {
        null or "extents" => new(map.Extents().Select(e => new ExtentAnswer(e.Offset, e.Length)), null, null),
        "blocks" => new(null, Numbers(map), null),
        "bitmap" => new(null, null, Bits(map)),
        _ => throw new LedgerException(
            ErrorCode.BadArgument, $"'{format}' is no format", "take extents, blocks or bitmap"),
    };

    private static IEnumerable<long> Numbers(NativeBitmap map)
    {
        for (var from = 0L; map.TryFindRun(from, out var run); from = run.End)
            for (var block = run.First; block < run.End; block++)
                yield return block;
    }

    private static byte[] Bits(NativeBitmap map)
    {
        var bytes = (map.BlockCount + 7) / 8;
        if (bytes > BitmapBytesMax)
            throw new LedgerException(
                ErrorCode.BadArgument, $"a bitmap of {bytes} bytes is more than {BitmapBytesMax}", "take a coarser granularity or format extents");
        var bits = new byte[bytes];
        foreach (var block in Numbers(map))
            bits[block >> 3] |= (byte)(1 << (int)(block & 7));
        return bits;
    }
}
