using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Nodes;
using CsCheck;

namespace BitmapLedger.Bitmaps.Tests;

/// <summary>Nodes of the union tree as bytes, against sets that are kept naively.</summary>
public sealed class NodeCodecTests
{
    // Method: blocks in clusters of different density, so that containers take every form, beside a set of numbers; the
    // node is read back whole at every granularity not finer than its own, also into maps of other sizes, and in part.
    [Fact]
    public void A_node_holds_exactly_the_blocks_of_a_naive_set_whole_coarser_clipped_and_in_part()
    {
        Gen.Select(Gen.Long[1, 400_000], Gen.Int[9, 16], Gen.Int[0, int.MaxValue]).Sample((blocks, shift, seed) =>
        {
            var random = new Random(seed);
            var granularity = Granularity.FromShift(shift);
            var size = blocks * granularity.Bytes - random.Next(1 << shift);
            using var map = new NativeBitmap(size, granularity);
            var naive = Fill(map, random);

            var node = NodeCodec.Encode(map);

            Holds(node, naive, granularity, size, granularity, size);
            Holds(node, naive, granularity, size, Granularity.FromShift(shift + random.Next(1, 9)), size);
            Holds(node, naive, granularity, size, granularity, size / 2 + 1);
            Holds(node, naive, granularity, size, granularity, size * 2);
            for (var i = 0; i < 20; i++)
            {
                var offset = random.NextInt64(size * 2);
                var end = offset + random.NextInt64(1, (long)random.Next(1, 200) << shift);
                Assert.Equal(
                    naive.Any(b => b << shift < end && (b + 1) << shift > offset), Touches(node, offset, end));
            }
        }, iter: 300);
    }

    [Fact]
    public void Merging_maps_of_one_shape_marks_what_either_marks_and_keeps_every_summary()
    {
        Gen.Select(Gen.Long[1, 3_000_000], Gen.Int[0, int.MaxValue]).Sample((blocks, seed) =>
        {
            var random = new Random(seed);
            using var target = new NativeBitmap(blocks << 16, Granularity.Default);
            using var source = new NativeBitmap(blocks << 16, Granularity.Default);
            var naive = Fill(target, random);
            naive.UnionWith(Fill(source, random));

            target.UnionWith(source);

            Assert.Equal(naive.Order(), Numbers(target));
        }, iter: 100);
    }

    [Fact]
    public void A_node_adds_to_what_a_map_holds_already_and_keeps_every_summary()
    {
        Gen.Select(Gen.Long[1, 400_000], Gen.Int[0, int.MaxValue]).Sample((blocks, seed) =>
        {
            var random = new Random(seed);
            var size = blocks * 4096 - random.Next(4096);
            using var map = new NativeBitmap(size, Granularity.FromShift(12));
            var naive = Fill(map, random);
            var node = NodeCodec.Encode(map);
            using var target = new NativeBitmap(size, Granularity.FromShift(12));
            naive.UnionWith(Fill(target, random));

            using var same = target.Resized(size);

            Assert.Equal(CodecFault.None, NodeCodec.TryUnion(node, target));
            Unpacked(node).Mark(same);

            Assert.Equal(naive.Order(), Numbers(target));
            Assert.Equal(naive.Order(), Numbers(same));
        }, iter: 200);
    }

    // Containers of 262,144 blocks are four stretches, each in a form of its own.
    [Fact]
    public void An_unpacked_node_of_large_containers_marks_what_the_node_holds()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            var random = new Random(seed);
            var size = 256.GiB + random.Next(1 << 20);
            using var map = new NativeBitmap(size, Granularity.Finest);
            for (var i = 0; i < 5; i++)
                Fill(map, random);
            var node = NodeCodec.Encode(map);
            using var expected = new NativeBitmap(size - (size >> random.Next(2, 9)), Granularity.FromShift(random.Next(9, 12)));
            using var marked = new NativeBitmap(expected.VolumeBytes, expected.Granularity);
            Assert.Equal(CodecFault.None, NodeCodec.TryUnion(node, expected));

            Unpacked(node).Mark(marked);

            Assert.Equal(expected.Extents(), marked.Extents());
        }, iter: 20);
    }

    [Fact]
    public void An_unpacked_node_of_random_blocks_takes_no_more_memory_than_its_row_and_one_of_a_map_that_is_finer_is_refused()
    {
        var random = new Random(7);
        using var map = new NativeBitmap(1.TiB, Granularity.Default);
        for (var i = 0; i < 262_144; i++)
            map.MarkDirty(random.NextInt64(1.TiB - 4096), 4096);
        var node = NodeCodec.Encode(map);

        var unpacked = Unpacked(node);

        Assert.InRange(unpacked.HeldBytes, map.CountDirty(), node.Length);
        using var finer = new NativeBitmap(1.TiB, Granularity.FromShift(15));
        Assert.Throws<ArgumentException>(() => unpacked.Mark(finer));
    }

    // Method: one container of gaps whose bytes are changed under a right checksum, against a reading of it a byte at a time.
    [Fact]
    public void Gaps_that_lie_under_a_right_checksum_are_a_fault_or_what_they_say_and_mark_nothing_outside()
    {
        Gen.Select(Gen.Int[500, 65_536], Gen.Int[0, int.MaxValue]).Sample((blocks, seed) =>
        {
            var random = new Random(seed);
            using var map = new NativeBitmap(blocks * 512L, Granularity.Finest);
            for (var block = random.Next(200); block < blocks; block += random.Next(2, 400))
                map.MarkBlocks(new(block, 1));
            map.MarkBlocks(new(1, 1));
            var node = NodeCodec.Encode(map);
            _ = NodeDirectory.TryRead(node, out var directory, out _);
            var payload = node.AsSpan(directory!.HeadBytes..^4);
            for (var change = random.Next(4); change > 0; change--)
                payload[random.Next(payload.Length)] = (byte)(random.Next(3) == 0 ? 0xFF : random.Next(256));
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(node.AsSpan(^4..), Crc32C.Of(payload));
            var naive = Gaps(payload, blocks);
            // A word more than the container has: what is marked behind it shows.
            using var target = new NativeBitmap((blocks + 70) * 512L, Granularity.Finest);

            Assert.Equal(naive is null ? CodecFault.BadValue : CodecFault.None, NodeCodec.TryUnion(node, target));
            Assert.Equal(naive is null ? CodecFault.BadValue : CodecFault.None, UnpackedNode.TryUnpack(node, out _));

            if (naive is not null)
                Assert.Equal(naive, Numbers(target));
            else
                Assert.DoesNotContain(Numbers(target), b => b >= (blocks + 63) / 64 * 64);
        }, iter: 2_000);
    }

    // Every byte is under a checksum or is one: no flipped bit and no cut goes unnoticed, whole or in part.
    [Fact]
    public void Every_flipped_bit_and_every_truncation_of_a_node_is_a_fault()
    {
        using var map = new NativeBitmap(500_000L << 12, Granularity.FromShift(12));
        map.MarkBlocks(new(0, 65_536));
        map.MarkBlocks(new(70_000, 5_000));
        for (var i = 0; i < 300; i++)
            map.MarkBlocks(new(150_000 + i * 100, 1));
        var node = NodeCodec.Encode(map);
        using var target = new NativeBitmap(map.VolumeBytes, map.Granularity);
        Assert.Equal(CodecFault.None, NodeCodec.TryUnion(node, target));

        for (var bit = 0; bit < node.Length * 8; bit++)
        {
            node[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.NotEqual(CodecFault.None, NodeCodec.TryUnion(node, target));
            Assert.NotEqual(CodecFault.None, UnpackedNode.TryUnpack(node, out _));
            node[bit / 8] ^= (byte)(1 << bit % 8);
        }

        for (var length = 0; length < node.Length; length++)
        {
            Assert.NotEqual(CodecFault.None, NodeCodec.TryUnion(node.AsSpan(0, length), target));
            Assert.NotEqual(CodecFault.None, UnpackedNode.TryUnpack(node.AsSpan(0, length), out _));
        }

        Assert.NotEqual(CodecFault.None, NodeCodec.TryUnion([.. node, 0], target));
        Assert.NotEqual(CodecFault.None, UnpackedNode.TryUnpack([.. node, 0], out _));
    }

    // The checksums are made right again behind each change, so that the checks of the values themselves are reached.
    [Fact]
    public void Nodes_that_lie_under_right_checksums_are_faults_or_safe_to_use_and_never_crash()
    {
        Gen.Select(Gen.Int[0, int.MaxValue], Gen.Int[0, 63], Gen.Byte).Sample((seed, at, value) =>
        {
            using var map = new NativeBitmap(140_000L << 9, Granularity.Finest);
            Fill(map, new Random(seed));
            map.MarkBlocks(new(seed % 140_000, 1));
            var node = NodeCodec.Encode(map);
            _ = NodeDirectory.TryRead(node, out var directory, out _);
            var head = directory!.HeadBytes;
            node[(at < 24 ? at : seed) % (head - 4)] = value;
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(node.AsSpan(head - 4), Crc32C.Of(node.AsSpan(0, head - 4)));

            using var target = new NativeBitmap(map.VolumeBytes, Granularity.Default);
            var fault = NodeDirectory.TryRead(node, out directory, out _);
            if (directory is null)
                Assert.NotEqual(CodecFault.None, fault);
            else if (directory.Granularity <= target.Granularity)
                fault = NodeCodec.TryUnion(node, target);

            var unpackedFault = UnpackedNode.TryUnpack(node, out var unpacked);
            if (directory is not null && directory.Granularity > target.Granularity)
                return;
            Assert.Equal(fault, unpackedFault);
            if (unpacked is null)
                return;
            using var marked = new NativeBitmap(map.VolumeBytes, Granularity.Default);
            unpacked.Mark(marked);
            Assert.Equal(target.Extents(), marked.Extents());
        }, iter: 3_000);
    }

    [Fact]
    public void Random_blocks_take_little_more_than_a_byte_each_and_a_dense_node_a_bit_a_block()
    {
        var random = new Random(7);
        using var sparse = new NativeBitmap(1.TiB, Granularity.Default);
        for (var i = 0; i < 262_144; i++)
            sparse.MarkDirty(random.NextInt64(1.TiB - 4096), 4096);
        using var dense = new NativeBitmap(1.TiB, Granularity.Default);
        for (var block = 0L; block < dense.BlockCount; block += 3)
            dense.MarkBlocks(new(block, 1));

        Assert.InRange(NodeCodec.Encode(sparse).Length / (double)sparse.CountDirty(), 1, 1.2);
        Assert.InRange(NodeCodec.Encode(dense).Length, dense.BlockCount / 8, dense.BlockCount / 8 * 1.01);
    }

    [Fact]
    public void A_volume_too_large_for_a_granularity_gets_the_finest_at_which_its_nodes_are_bounded()
    {
        Assert.Equal(Granularity.Finest, NodeCodec.GranularityFor(512.GiB, Granularity.Finest));
        Assert.Equal(Granularity.FromBytes(64.KiB), NodeCodec.GranularityFor(64.TiB, Granularity.Finest));
        using var map = new NativeBitmap(1.TiB, Granularity.Finest);
        Assert.Throws<ArgumentException>(() => NodeCodec.Encode(map));
    }

    private static void Holds(
        byte[] node, HashSet<long> naive, Granularity granularity, long size, Granularity asked, long askedSize)
    {
        using var target = new NativeBitmap(askedSize, asked);
        using var marked = new NativeBitmap(askedSize, asked);
        Assert.Equal(CodecFault.None, NodeCodec.TryUnion(node, target));
        Unpacked(node).Mark(marked);
        List<long> expected =
        [
            .. naive.Where(b => b << granularity.Shift < Math.Min(size, askedSize))
                .Select(b => b >> (asked.Shift - granularity.Shift)).Distinct().Order(),
        ];
        Assert.Equal(expected, Numbers(target));
        Assert.Equal(expected, Numbers(marked));
    }

    private static UnpackedNode Unpacked(byte[] node)
    {
        Assert.Equal(CodecFault.None, UnpackedNode.TryUnpack(node, out var unpacked));
        return unpacked!;
    }

    private static bool Touches(byte[] node, long offset, long end)
    {
        var fault = NodeDirectory.TryRead(node.AsSpan(0, Math.Min(40, node.Length)), out var directory, out var needed);
        if (directory is null)
        {
            Assert.Equal(CodecFault.Incomplete, fault);
            Assert.Equal(CodecFault.None, NodeDirectory.TryRead(node.AsSpan(0, needed), out directory, out _));
        }

        var slice = directory!.Find(offset, end);
        Assert.Equal(CodecFault.None, directory.TryTouches(
            slice, node.AsSpan((int)slice.OffsetBytes, (int)slice.LengthBytes), offset, end, out var touches));
        return touches;
    }

    /// <summary>The blocks that gaps say; null when they cannot be.</summary>
    private static List<long>? Gaps(ReadOnlySpan<byte> payload, int blocks)
    {
        List<long> numbers = [];
        var (next, gap, shift) = (0L, 0L, 0);
        foreach (var value in payload)
        {
            gap |= (long)(value & 0x7F) << shift;
            shift += 7;
            if (value < 0x80)
            {
                numbers.Add(next + gap);
                (next, gap, shift) = (next + gap + 1, 0, 0);
            }

            if (shift > 28 || next > blocks)
                return null;
        }

        return shift == 0 ? numbers : null;
    }

    private static HashSet<long> Fill(NativeBitmap map, Random random)
    {
        HashSet<long> naive = [];
        for (var cluster = random.Next(6); cluster > 0; cluster--)
        {
            var start = random.NextInt64(map.BlockCount);
            var span = Math.Min(map.BlockCount - start, random.NextInt64(1, 1 << random.Next(1, 18)));
            var step = random.Next(3) switch { 0 => 1, 1 => random.Next(2, 6), _ => random.Next(6, 400) };
            for (var block = start; block < start + span; block += step)
            {
                map.MarkBlocks(new(block, 1));
                naive.Add(block);
            }
        }

        return naive;
    }

    private static IEnumerable<long> Numbers(NativeBitmap map)
    {
        for (var from = 0L; map.TryFindRun(from, out var run); from = run.End)
            for (var block = run.First; block < run.End; block++)
            {
                Assert.True(map.IsDirty(block));
                yield return block;
            }
    }
}
