using System.Text.Json;

namespace BitmapLedger.Testing;

/// <summary>Half-open stretches of bytes as tests compare them: ascending, merged.</summary>
public static class Extents
{
    /// <summary>The blocks that <paramref name="writes"/> touch, clipped to <paramref name="size"/>; a naive
    /// model.</summary>
    public static (
        long Offset, long Length)[] Touched(IEnumerable<(long Offset, long Length)> writes, long granularity, long size)
    {
        SortedSet<long> blocks = [];
        foreach (var (offset, length) in writes)
            for (var block = offset / granularity; length > 0 && block <= (offset + length - 1) / granularity; block++)
                blocks.Add(block);
        return Merge(blocks.Select(b => (b * granularity, Math.Min(granularity, size - b * granularity))));
    }

    public static (long Offset, long Length)[] Merge(IEnumerable<(long Offset, long Length)> extents)
    {
        List<(long Offset, long Length)> merged = [];
        foreach (var extent in extents.OrderBy(e => e.Offset))
        {
            if (merged.Count > 0 && merged[^1] is var last && last.Offset + last.Length >= extent.Offset)
                merged[^1] = (last.Offset, Math.Max(last.Length, extent.Offset + extent.Length - last.Offset));
            else
                merged.Add(extent);
        }

        return [.. merged];
    }

    /// <summary>The <c>extents</c> array of an answer of <c>bml</c>, as it came.</summary>
    public static (long Offset, long Length)[] Of(JsonElement answer) =>
    [
        .. answer.GetProperty("extents").EnumerateArray()
            .Select(e => (e.GetProperty("offset").GetInt64(), e.GetProperty("length").GetInt64())),
    ];

    /// <summary>What <c>nbdinfo --map=qemu:dirty-bitmap:… --json</c> calls dirty.</summary>
    public static (long Offset, long Length)[] DirtyOf(string nbdinfoJson)
    {
        using var map = JsonDocument.Parse(nbdinfoJson);
        return Merge(map.RootElement.EnumerateArray()
            .Where(e => (e.GetProperty("type").GetInt64() & 1) != 0)
            .Select(e => (e.GetProperty("offset").GetInt64(), e.GetProperty("length").GetInt64())));
    }
}
