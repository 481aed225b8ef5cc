using BitmapLedger.Bitmaps;
using BitmapLedger.Ledger.Reading;

namespace BitmapLedger.Ledger.Tests;

/// <summary>What an answer holds while it is written.</summary>
public sealed class AnswerMapTests
{
    [Theory]
    [InlineData("extents")]
    [InlineData("blocks")]
    public void An_answer_holds_its_map_and_no_list_of_what_is_in_it(string format)
    {
        const int dirty = 200_000;
        using var maps = new AnswerMaps();
        var map = maps.Keep(new(2L * dirty * Granularity.Default.Bytes, Granularity.Default));
        for (var i = 0L; i < dirty; i++)
            map.MarkDirty(2 * i * Granularity.Default.Bytes, 1);
        // The first call of any code has costs of its own.
        _ = BitFormat.Of(map, format);

        var before = GC.GetAllocatedBytesForCurrentThread();
        var shown = BitFormat.Of(map, format);
        var held = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.InRange(held, 0, 1024);
        Assert.Equal(dirty, shown.Extents?.Count() ?? shown.Blocks!.Count());
        maps.Dispose();
        Assert.Throws<ObjectDisposedException>(() => shown.Extents?.Count() ?? shown.Blocks!.Count());
    }
}
