namespace BitmapLedger.Server;

/// <summary>The order in which every entrance lists the bitmaps of a volume: QEMU's.</summary>
internal static class BitmapOrder
{
    /// <summary>QEMU puts each bitmap in front, and reads those of earlier runs back in the order in which they were added: the
    /// newest of this run comes first, and of an earlier run the oldest.</summary>
    /// <typeparam name="T">What stands for a bitmap.</typeparam>
    /// <param name="newestFirst">The bitmaps, newest first.</param>
    /// <param name="runOf">The run of the Agent that one was added in.</param>
    /// <param name="run">The run of the Agent now; null when it is away, and then its last one is taken to go on.</param>
    public static IReadOnlyList<T> Listed<T>(IReadOnlyList<T> newestFirst, Func<T, Guid> runOf, Guid? run)
    {
        var now = run ?? (newestFirst is [var newest, ..] ? runOf(newest) : default);
        return [.. newestFirst.GroupBy(runOf).SelectMany(g => g.Key == now ? g : g.Reverse())];
    }
}
