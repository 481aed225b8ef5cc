using CsCheck;

namespace BitmapLedger.Bitmaps.Tests;

public sealed class NativeBitmapTests
{
    /// <summary>Sizes from one byte to 64 TiB, granularities from 512 B to 2 GiB, with a partial last block more
    /// often than not.</summary>
    private static readonly Gen<(long Size, Granularity Granularity)> _shapes =
        Gen.Select(Gen.Int[0, 46], Gen.Int[Granularity.ShiftMin, Granularity.ShiftMax], Gen.Long[0, 4096])
            .Select((
                sizeShift, shift, odd) => (Math.Min(64L << 40, (1L << sizeShift) + odd), Granularity.FromShift(shift)));

    [Fact]
    public void A_write_that_straddles_two_blocks_marks_both()
    {
        using var map = new NativeBitmap(1.MiB, Granularity.Default);

        map.MarkDirty(offsetBytes: 64.KiB - 1, lengthBytes: 2);

        Assert.Equal([new BlockRun(0, 2)], Runs(map));
        Assert.Equal(128.KiB, map.DirtyBytes);
    }

    // Method: random writes against the map and against a plain set of runs' first and last blocks; short ones, so
    // that the
    // set stays small however large the volume is.
    [Fact]
    public void Random_writes_mark_what_the_model_marks_whatever_the_shape()
    {
        Gen.Select(_shapes, Gen.Int[0, int.MaxValue]).Sample((shape, seed) =>
        {
            using var map = new NativeBitmap(shape.Size, shape.Granularity);
            var random = new Random(seed);
            SortedSet<long> model = [];
            for (var i = 0; i < 40; i++)
            {
                var length = Math.Min(random.NextInt64(0, 5 * shape.Granularity.Bytes), shape.Size);
                var offset = random.NextInt64(0, shape.Size - length + 1);
                map.MarkDirty(offset, length);
                for (var b = offset / shape.Granularity.Bytes; length > 0 && b <= (
                    offset + length - 1) / shape.Granularity.Bytes; b++)
                    model.Add(b);
            }

            Assert.Equal(model, Runs(map).SelectMany(r => Range(r)));
            Assert.Equal(model.Count, map.CountDirty());
            Assert.All(model, b => Assert.True(map.IsDirty(b)));
            Assert.Equal(model.Count(b => b >= model.Max / 2), map.TryFindRun(
                model.Max / 2, out _) ? Runs(map, model.Max / 2).Sum(r => r.Count) : 0);
        }, iter: 300);
    }

    [Fact]
    public void What_is_dirty_in_one_map_and_not_in_another_is_what_the_model_says_whatever_their_sizes()
    {
        Gen.Select(Gen.Int[1, 40_000_000], Gen.Int[1, 40_000_000], Gen.Int[0, int.MaxValue]).Sample((size, otherSize, seed) =>
        {
            var random = new Random(seed);
            using var map = new NativeBitmap(size, Granularity.Finest);
            using var other = new NativeBitmap(otherSize, Granularity.Finest);
            for (var i = 0; i < 30; i++)
            {
                var offset = random.NextInt64(size);
                map.MarkDirty(offset, Math.Min(random.Next(1, 40_000), size - offset));
                var place = random.Next(2) == 0 ? Math.Min(offset, otherSize - 1) : random.NextInt64(otherSize);
                other.MarkDirty(place, Math.Min(random.Next(1, 40_000), otherSize - place));
            }

            using var rest = map.Without(other);

            Assert.Equal(
                Runs(map).SelectMany(r => Range(r)).Where(b => b >= other.BlockCount || !other.IsDirty(b)), Runs(rest).SelectMany(r => Range(r)));
            Assert.Equal(map.VolumeBytes, rest.VolumeBytes);
        }, iter: 200);
        using var coarse = new NativeBitmap(1.MiB, Granularity.Default);
        using var fine = new NativeBitmap(1.MiB, Granularity.Finest);
        Assert.Throws<ArgumentException>(() => fine.Without(coarse));
    }

    [Fact]
    public void A_union_across_granularities_is_rounded_outward_and_clipped()
    {
        Gen.Select(Gen.Int[1, 300_000], Gen.Int[9, 16], Gen.Int[9, 16], Gen.Int[0, int.MaxValue]).Sample((
            size, from, to, seed) =>
        {
            using var source = new NativeBitmap(size, Granularity.FromShift(from));
            using var target = new NativeBitmap(size, Granularity.FromShift(to));
            var random = new Random(seed);
            for (var i = 0; i < 8; i++)
                source.MarkDirty(random.Next(size), 1);
            target.UnionWith(source);

            for (var block = 0L; block < target.BlockCount; block++)
            {
                var start = block << to;
                var end = Math.Min(size, start + (1L << to));
                var touched = Enumerable.Range(0, (int)source.BlockCount)
                    .Any(b => source.IsDirty(b) && (long)b << from < end && Math.Min(size, (b + 1L) << from) > start);
                Assert.Equal(touched, target.IsDirty(block));
            }
        }, iter: 60);
    }

    [Fact]
    public void A_union_through_a_coarser_granularity_is_a_union_into_it_and_out_of_it()
    {
        var shift = Gen.Int[9, 16];
        Gen.Select(Gen.Int[1, 300_000], shift, shift, shift, Gen.Int[0, int.MaxValue]).Sample((size, from, through, to, seed) =>
        {
            using var source = new NativeBitmap(size, Granularity.FromShift(from));
            using var between = new NativeBitmap(size, Granularity.FromShift(through));
            using var expected = new NativeBitmap(size, Granularity.FromShift(to));
            using var target = new NativeBitmap(size, Granularity.FromShift(to));
            var random = new Random(seed);
            for (var i = 0; i < 8; i++)
                source.MarkDirty(random.Next(size), 1);

            target.UnionWith(source, through: Granularity.FromShift(Math.Max(from, through)));
            if (through > from)
                between.UnionWith(source);
            expected.UnionWith(through > from ? between : source);

            Assert.Equal(Runs(expected), Runs(target));
        }, iter: 200);
    }

    [Fact]
    public void A_map_of_another_size_keeps_the_blocks_that_are_left_and_adds_clean_ones()
    {
        Gen.Select(Gen.Int[1, 300_000], Gen.Int[1, 300_000], Gen.Int[9, 16], Gen.Int[0, int.MaxValue]).Sample((
            before, after, shift, seed) =>
        {
            using var map = new NativeBitmap(before, Granularity.FromShift(shift));
            var random = new Random(seed);
            for (var i = 0; i < 8; i++)
                map.MarkDirty(random.Next(before), 1);

            using var resized = map.Resized(after);

            Assert.Equal(after, resized.VolumeBytes);
            for (var block = 0L; block < resized.BlockCount; block++)
                Assert.Equal(block < map.BlockCount && map.IsDirty(block), resized.IsDirty(block));
        }, iter: 200);
    }

    [Fact]
    public void Clear_leaves_nothing_and_marking_goes_on()
    {
        using var map = new NativeBitmap(1.GiB, Granularity.Finest);
        map.MarkAll();
        Assert.Equal(map.BlockCount, map.CountDirty());

        map.Clear();
        Assert.Empty(Runs(map));
        map.MarkDirty(1.GiB - 1, 1);

        Assert.Equal([new BlockRun(map.BlockCount - 1, 1)], Runs(map));
    }

    [Fact]
    public async Task Marks_of_many_threads_are_all_there()
    {
        using var map = new NativeBitmap(1.GiB, Granularity.FromBytes(4096));
        var blocks = map.BlockCount;

        await Task.WhenAll(Enumerable.Range(0, 4).Select(t => Task.Run(() =>
        {
            for (var block = (long)t; block < blocks; block += 4)
            {
                map.MarkDirty(block * 4096 + 7, 1);
                Assert.True(map.TryFindRun(block, out var run) && run.First == block);
            }
        })));

        Assert.Equal([new BlockRun(0, blocks)], Runs(map));
    }

    // Method: threads make, mark and drop maps of few sizes, so that most take the memory of one that went, of their size or another.
    [Fact]
    public async Task A_map_that_takes_the_memory_of_one_that_went_is_clean_and_nobody_elses()
    {
        long[] blocks = [600_000, 700_000, 1_000_000, 16 << 20, 17 << 20, 40 << 20];
        await Task.WhenAll(Enumerable.Range(0, 4).Select(seed => Task.Run(() =>
        {
            var random = new Random(seed);
            for (var i = 0; i < 200; i++)
            {
                using var map = NativeBitmap.ForAnAnswer(blocks[random.Next(blocks.Length)] << 16, Granularity.Default);
                Assert.False(map.TryFindRun(0, out _));
                HashSet<long> marked = [.. Enumerable.Range(0, 50).Select(_ => random.NextInt64(map.BlockCount))];
                foreach (var block in marked)
                    map.MarkBlocks(new(block, 1));
                map.MarkBlocks(new(map.BlockCount - 1, 1));
                Assert.Equal(marked.Append(map.BlockCount - 1).Distinct().Count(), map.CountDirty());
                Assert.Superset(marked.Select(b => b << 16).ToHashSet(), map.Extents().SelectMany(Starts).ToHashSet());
            }
        })));

        static IEnumerable<long> Starts(Extent extent)
        {
            for (var start = extent.Offset; start < extent.Offset + extent.Length; start += 65_536)
                yield return start;
        }
    }

    [Fact]
    public void The_largest_map_costs_nothing_while_it_is_empty_and_a_larger_one_is_refused()
    {
        using var map = new NativeBitmap(64.TiB, Granularity.Finest);
        map.MarkDirty(64.TiB - 1, 1);

        Assert.Equal([new BlockRun((64.TiB >> 9) - 1, 1)], Runs(map));
        var refusal = Assert.Throws<BitmapTooLargeException>(() => new NativeBitmap(64.TiB + 1, Granularity.Finest));
        Assert.Contains("coarser granularity", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(64 << 20, "38723a2e5e8a17aa7950dc008209944e898f69a7bd10a23c839d341e935fd5ca")]
    [InlineData(1, "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc")]
    public void Digests_of_empty_maps_are_those_of_qemu(long size, string expected)
    {
        using var map = new NativeBitmap(size, Granularity.Default);

        Assert.Equal(expected, map.Sha256());
    }

    [Fact]
    public void The_digest_is_that_of_the_little_endian_words()
    {
        using var map = new NativeBitmap(10.MiB, Granularity.FromBytes(4096));
        map.MarkBlocks(new(3, 70));
        var words = new byte[(map.BlockCount + 63) / 64 * 8];
        foreach (var block in Enumerable.Range(3, 70))
            words[block >> 3] |= (byte)(1 << (block & 7));

        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(words)), map.Sha256());
    }

    [Fact]
    public void Marking_and_searching_allocate_nothing()
    {
        using var map = new NativeBitmap(1.GiB, Granularity.Default);
        map.MarkDirty(0, 1);
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 1000; i++)
            map.MarkDirty(i * 1_000_003L % (1.GiB - 8), 8);
        var dirty = 0L;
        foreach (var run in map.Runs)
            dirty += run.Count;

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(dirty > 900);
    }

    private static IEnumerable<long> Range(BlockRun run)
    {
        for (var block = run.First; block < run.End; block++)
            yield return block;
    }

    private static List<BlockRun> Runs(NativeBitmap map, long from = 0)
    {
        List<BlockRun> runs = [];
        while (map.TryFindRun(from, out var run))
        {
            runs.Add(run);
            from = run.End;
        }

        return runs;
    }
}
