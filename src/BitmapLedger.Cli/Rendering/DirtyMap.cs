using System.Globalization;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Cli.Rendering;

/// <summary>Extents in the columns of <c>nbdinfo --map</c>: offset, length, type number, type name.</summary>
internal static class DirtyMap
{
    public static IEnumerable<string> Lines(IEnumerable<ExtentAnswer> dirty, long size) =>
        All(dirty, size).Select(e => string.Create(
            CultureInfo.InvariantCulture, $"{e.Offset,10}  {e.Length,10}  {(e.Dirty ? 1 : 0),3}  {Name(e.Dirty)}"));

    /// <summary>The columns of <c>nbdinfo --map --totals</c>: bytes, percent, type number, type name.</summary>
    public static IEnumerable<string> Totals(IEnumerable<ExtentAnswer> dirty, long size) =>
        All(dirty, size).GroupBy(e => e.Dirty).OrderBy(g => g.Key).Select(g =>
        {
            var bytes = g.Sum(e => e.Length);
            return string.Create(
                CultureInfo.InvariantCulture, $"{bytes,10} {100.0 * bytes / size,5:0.0}% {(g.Key ? 1 : 0),3} {Name(g.Key)}");
        });

    private static string Name(bool dirty) => dirty ? "dirty" : "clean";

    private static IEnumerable<(long Offset, long Length, bool Dirty)> All(IEnumerable<ExtentAnswer> dirty, long size)
    {
        var at = 0L;
        foreach (var extent in dirty)
        {
            if (extent.Offset > at)
                yield return (at, extent.Offset - at, false);
            yield return (extent.Offset, extent.Length, true);
            at = extent.Offset + extent.Length;
        }

        if (at < size)
            yield return (at, size - at, false);
    }
}
