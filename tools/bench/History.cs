using System.Diagnostics;
using System.Globalization;
using System.Numerics.Tensors;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;

namespace BitmapLedger.Bench;

/// <summary>What questions to a long history cost, with the union tree and without it, in turn in one run.</summary>
internal static class History
{
    private static readonly CancellationToken _none = CancellationToken.None;
    private static readonly int[] _millions = [1, 3, 10, 30, 100];

    public static async Task RunAsync(int rounds, int millions)
    {
        await using var history = await LongHistory.StartAsync();
        Console.WriteLine("| what, random 4 KiB writes over 1 TiB | with the tree | without | ratio | floor |");
        Console.WriteLine("|---|---|---|---|---|");
        EqualRanges ranges = new();
        foreach (var size in _millions.Where(s => s < millions).Append(millions))
        {
            await history.GrowAsync(size * 1_000_000L);
            await history.ProjectAsync();
            await ChangedAsync(history, rounds, size, cold: false);
            await BlameAsync(history, rounds, size);
            await ranges.MeasureAsync(history, rounds, size);
        }

        foreach (var row in ranges.Rows())
            Console.WriteLine(row);
        await ChangedAsync(history, rounds, millions, cold: true);
        await PeakAsync(history);
        await TreeBytesAsync(history);
        await Rebuilds.RowsAsync(history, rounds);
        Merge(rounds);
    }

    private static async Task ChangedAsync(LongHistory history, int rounds, int size, bool cold)
    {
        var random = new Random(5);
        var reader = new ChangeReader(history.Index);
        List<double> tree = [], again = [], fold = [];
        for (var round = cold ? 0 : -1; round < rounds; round++)
        {
            double[] parts = [.. new[] { random.NextDouble(), random.NextDouble() }.Order()];
            var (from, to) = (await history.PositionAsync(parts[0]), await history.PositionAsync(parts[1]));
            if (cold)
            {
                await history.CoolAsync();
                reader = new(history.Index);
            }

            NativeBitmap? quick = null;
            var withTree = await LongHistory.MillisecondsAsync(AskAsync);
            if (cold)
                await history.CoolAsync();
            else
            {
                // What lies between has been read by nobody before the first question, and is kept behind it.
                quick!.Dispose();
                again.Add(await LongHistory.MillisecondsAsync(AskAsync));
            }

            using var slow = new ChangeFold(LongHistory.Size, Granularity.Default, from, to);
            var without = await LongHistory.MillisecondsAsync(() => FoldAsync(history, slow, to));
            if (quick!.Sha256() != slow.Changed.Sha256())
                throw new InvalidOperationException("the tree and the fold differ");
            quick.Dispose();
            if (round < 0)
            {
                again.Clear();
                continue;
            }

            tree.Add(withTree);
            fold.Add(without);

            async Task AskAsync() =>
                quick = (await reader.ReadAsync(history.Volume, LongHistory.Size, Granularity.Default, from, to, _none)).Map;
        }

        var what = $"`changed` between two random points of {size} M writes";
        Row($"{what}, {(cold ? "cold" : "asked for the first time")}, ms", tree, fold, cold ? "3" : "–");
        if (!cold)
            Row($"{what}, warm, ms", again, fold, "10");
    }

    /// <summary>As every answer was made before there was a tree: Marten's pages from the first event on.</summary>
    private static async Task FoldAsync(LongHistory history, ChangeFold fold, Position to)
    {
        await foreach (var e in new EventReader(history.Store).ReadAsync(history.Volume, 0, to.Event, _none))
            fold.Apply((IVolumeEvent)e.Data, e.Version);
    }

    private static async Task BlameAsync(LongHistory history, int rounds, int size)
    {
        var random = new Random(6);
        List<double> tree = [], scan = [];
        var (start, now) = (new Position(1, 0, default), new Position(history.LastEvent, history.LastLsn, default));
        for (var round = -1; round < rounds; round++)
        {
            var offset = random.NextInt64(LongHistory.Size >> 16) << 16;
            var (quick, slow) = (0, 0);
            var withTree = await LongHistory.MillisecondsAsync(async () =>
            {
                await using var look = await history.Index.LookAsync(history.Volume, _none);
                await foreach (var e in new TouchWalk(look, offset, offset + 65_536).BackAsync(start, now, _none))
                    quick += Touching(e.Data(), offset);
            });
            var without = await LongHistory.MillisecondsAsync(async () =>
            {
                await using var look = await history.Index.LookAsync(history.Volume, _none);
                await foreach (var e in look.EventsAsync(0, history.LastEvent, newestFirst: true, _none))
                    slow += Touching(e.Data(), offset);
            });
            if (quick != slow)
                throw new InvalidOperationException("the tree and the scan differ");
            if (round < 0)
                continue;
            tree.Add(withTree);
            scan.Add(without);
        }

        Row($"first page of `blame` of 64 KiB over {size} M writes, ms", tree, scan, "15");
    }

    private static int Touching(IVolumeEvent happened, long offset)
    {
        var count = 0;
        if (happened is WritesRecorded writes)
            foreach (var write in writes.Packed)
                if (write.Offset < offset + 65_536 && write.End > offset)
                    count++;
        return count;
    }

    /// <summary>Most memory beyond what was there before, as the kernel counts it, against the 2 MiB of the answer.</summary>
    private static async Task PeakAsync(LongHistory history)
    {
        var reader = new ChangeReader(history.Index);
        var (from, to) = (await history.PositionAsync(0.01), await history.PositionAsync(0.99));
        List<double> peaks = [];
        for (var round = 0; round < 5; round++)
        {
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            await File.WriteAllTextAsync("/proc/self/clear_refs", "5");
            var before = Status("VmRSS");
            using (await reader.ReadAsync(history.Volume, LongHistory.Size, Granularity.Default, from, to, _none))
                peaks.Add((Status("VmHWM") - before) / 1024.0);
        }

        Console.WriteLine($"| most extra memory of `changed` over 1 TiB, MiB (the answer has 2) | {Median.Of(peaks).Show("0.0")} | – | – | at most 16 |");
    }

    private static async Task TreeBytesAsync(LongHistory history)
    {
        var bytes = await history.ScalarAsync<long>("select pg_total_relation_size('bitmapledger.union_nodes')");
        var events = await history.ScalarAsync<long>("select pg_total_relation_size('bitmapledger.mt_events')");
        Console.WriteLine(
            $"| bytes a write of the tree at 64 KiB, indexes and all (of the events: {events / (double)history.LastLsn:0.00}) " +
            $"| {bytes / (double)history.LastLsn:0.00} | – | – | at most 3 |");
    }

    private static void Merge(int rounds)
    {
        const int times = 200;
        using var target = new NativeBitmap(LongHistory.Size, Granularity.Default);
        using var source = new NativeBitmap(LongHistory.Size, Granularity.Default);
        var random = new Random(7);
        for (var i = 0; i < 4_000_000; i++)
        {
            source.MarkBlocks(new(random.NextInt64(source.BlockCount), 1));
            target.MarkBlocks(new(random.NextInt64(source.BlockCount), 1));
        }

        var (plainTarget, plainSource) = (new ulong[source.BlockCount / 64], new ulong[source.BlockCount / 64]);
        random.NextBytes(System.Runtime.InteropServices.MemoryMarshal.AsBytes(plainSource.AsSpan()));
        List<double> ours = [], peer = [];
        for (var round = -1; round < rounds; round++)
        {
            var watch = Stopwatch.StartNew();
            for (var i = 0; i < times; i++)
                target.UnionWith(source);
            var merged = watch.Elapsed.TotalMilliseconds / times;
            watch.Restart();
            for (var i = 0; i < times; i++)
                TensorPrimitives.BitwiseOr(plainTarget, plainSource, plainTarget);
            if (round < 0)
                continue;
            ours.Add(merged);
            peer.Add(watch.Elapsed.TotalMilliseconds / times);
        }

        var ratio = Median.Of(peer.Zip(ours, (p, o) => p / o));
        Console.WriteLine(
            $"| merge of two dense bitmaps of 1 TiB at 64 KiB, against TensorPrimitives.BitwiseOr, ms | {Median.Of(ours).Show("0.000")} " +
            $"| {Median.Of(peer).Show("0.000")} | {ratio.Show("0.00")} | 0.8 |");
    }

    private static void Row(string what, List<double> ours, List<double> peer, string floor) =>
        Console.WriteLine(
            $"| {what} | {Median.Of(ours).Show("0.0")} | {Median.Of(peer).Show("0.0")} " +
            $"| {Median.Of(peer.Zip(ours, (p, o) => p / o)).Show("0.0")} | {floor} |");

    private static long Status(string name) =>
        long.Parse(
            File.ReadLines("/proc/self/status").First(l => l.StartsWith(name, StringComparison.Ordinal)).Split(':', 'k')[1].Trim(),
            CultureInfo.InvariantCulture);
}
