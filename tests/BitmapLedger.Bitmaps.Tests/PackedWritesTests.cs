using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using CsCheck;

namespace BitmapLedger.Bitmaps.Tests;

public sealed class PackedWritesTests
{
    [Fact]
    public void A_part_of_a_block_marks_the_writes_of_its_numbers_only_whatever_is_void_between()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            var random = new Random(seed);
            List<SingleWrite> writes = [];
            List<LsnRange> voids = [];
            for (var lsn = 100L; lsn < 160; lsn++)
            {
                // Voids that touch are one.
                if (random.Next(4) == 0 && (voids.Count == 0 || voids[^1].Last < lsn - 1))
                    voids.Add(new(lsn, lsn += random.Next(3)));
                else
                    writes.Add(new(lsn, lsn, WriteKind.Write, random.NextInt64(2000) * 512, 512, 1));
            }

            var block = PackedWrites.Encode([.. writes], [], voids);
            var (after, through) = (random.NextInt64(95, 165), random.NextInt64(95, 170));
            using var part = new NativeBitmap(1 << 20, Granularity.Finest);
            using var expected = new NativeBitmap(1 << 20, Granularity.Finest);
            foreach (var write in writes.Where(w => w.Lsn > after && w.Lsn <= through))
                expected.MarkDirty(write.Offset, write.Length);

            Assert.Equal(CodecFault.None, PackedScan.TryMark(block, after, through, part));
            Assert.Equal(expected.Extents(), part.Extents());
        }, iter: 300);
    }

    [Fact]
    public void The_beginning_of_a_block_says_its_first_lsn_and_no_other_beginning_does()
    {
        var block = PackedWrites.Encode([new(5, 1, WriteKind.Write, 0, 512, 1)], [], [new(3, 4)]);

        Assert.Equal(CodecFault.None, PackedWrites.TryPeek(block.AsSpan(0, PackedWrites.PrefixBytes), out var first));
        Assert.Equal(3, first);
        Assert.Equal(CodecFault.Incomplete, PackedWrites.TryPeek(block.AsSpan(0, PackedWrites.PrefixBytes - 1), out first));
        Assert.Equal(0, first);
        block[0] ^= 1;
        Assert.Equal(CodecFault.BadMagic, PackedWrites.TryPeek(block, out _));
        Assert.Equal(CodecFault.BadValue, PackedWrites.TryPeek([0x42, 0x4D, 0x4C, 0x57, 1, .. new byte[21]], out _));
        Assert.Equal(CodecFault.UnknownVersion, PackedWrites.TryPeek([0x42, 0x4D, 0x4C, 0x57, 2, .. new byte[21]], out _));
    }

    [Fact]
    public void What_is_read_is_what_was_packed_with_voids_between()
    {
        Gen.Select(Gen.Int[0, int.MaxValue], Gen.Int[1, 400], Gen.Int[0, 46]).Sample((seed, count, sizeShift) =>
        {
            var (writes, voids) = Random(seed, count, 1L << sizeShift);
            ConnectionName[] names = [new(1, "unix:pid=1,uid=0"), new(7, "ü")];

            Assert.Equal(
                CodecFault.None, PackedWrites.TryRead(PackedWrites.Encode(writes, names, voids), out var packed));

            Assert.Equal(writes, List(packed!));
            Assert.Equal(voids, packed!.Voids);
            Assert.Equal(names, packed.Connections);
            Assert.Equal(writes.Sum(w => w.Length), packed.TotalBytes);
            Assert.Equal(writes[^1].TimeMicroseconds, packed.LastTimeMicroseconds);
            Assert.Equal(Math.Max(writes[^1].Lsn, voids.Count > 0 ? voids[^1].Last : 0), packed.LastLsn);
        }, iter: 300);
    }

    [Fact]
    public void A_block_of_nothing_but_voids_is_a_block()
    {
        Assert.Equal(CodecFault.None, PackedWrites.TryRead(PackedWrites.Encode([], [], [new(5, 9)]), out var packed));

        Assert.Equal((5, 9, 0), (packed!.FirstLsn, packed.LastLsn, packed.Count));
        Assert.Empty(List(packed));
    }

    [Fact]
    public void Every_flipped_bit_and_every_truncation_is_a_fault()
    {
        var (writes, voids) = Random(seed: 3, count: 120, 1L << 40);
        var bytes = PackedWrites.Encode(writes, [new(1, "a client")], voids);

        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.NotEqual(CodecFault.None, PackedWrites.TryRead(bytes, out _));
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
        }

        for (var length = 0; length < bytes.Length; length++)
            Assert.NotEqual(CodecFault.None, PackedWrites.TryRead(bytes.AsMemory(0, length), out _));
    }

    // Method: the checksum is made right again after each change, so that the checks of the values are what is tested.
    [Fact]
    public void Bytes_that_are_whole_but_cannot_be_are_a_fault_or_enumerate_without_harm()
    {
        var (writes, voids) = Random(seed: 4, count: 60, 1L << 30);
        var good = PackedWrites.Encode(writes, [new(1, "a client")], voids);
        var random = new Random(9);
        for (var attempt = 0; attempt < 5_000; attempt++)
        {
            var bytes = good.ToArray();
            for (var change = random.Next(1, 4); change > 0; change--)
                bytes[random.Next(5, bytes.Length - 4)] = (byte)random.Next(256);
            BitConverter.TryWriteBytes(bytes.AsSpan(bytes.Length - 4), Crc32C.Of(bytes.AsSpan(0, bytes.Length - 4)));

            if (PackedWrites.TryRead(bytes, out var packed) == CodecFault.None)
                Assert.All(List(
                    packed!), w => Assert.True(w.Length > 0 && w.Offset >= 0 && w.Length <= long.MaxValue - w.Offset));
        }
    }

    [Fact]
    public void Random_writes_of_4_KiB_over_a_tebibyte_take_less_than_six_bytes_each()
    {
        var random = new Random(1);
        var writes = Enumerable.Range(1, 4096).Select(lsn => new SingleWrite(
            lsn, 1_700_000_000_000_000 + lsn / 32 * 120, WriteKind.Write, random.NextInt64(
                1L << 28) << 12, 4096, 3)).ToArray();

        Assert.InRange(PackedWrites.Encode(writes, [new(3, "unix:pid=4711,uid=0")], []).Length / 4096.0, 3.5, 6.0);
    }

    [Fact]
    public void Writes_with_a_gap_or_going_back_in_time_are_no_block()
    {
        var write = new SingleWrite(1, 10, WriteKind.Write, 0, 512, 1);

        Assert.Throws<ArgumentException>(() => PackedWrites.Encode([write, write with { Lsn = 3 }], [], []));
        Assert.Throws<ArgumentException>(
            () => PackedWrites.Encode([write, write with { Lsn = 2, TimeMicroseconds = 9 }], [], []));
        Assert.Throws<ArgumentException>(() => PackedWrites.Encode([write with { Length = 0 }], [], []));
    }

    [Fact]
    public void Enumerating_allocates_nothing()
    {
        var (writes, voids) = Random(seed: 8, count: 400, 1L << 40);
        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [], voids), out var packed);
        var before = GC.GetAllocatedBytesForCurrentThread();

        var sum = 0L;
        foreach (var write in packed!)
            sum += write.Length;

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(packed.TotalBytes, sum);
    }

    private static (SingleWrite[] Writes, IReadOnlyList<LsnRange> Voids) Random(int seed, int count, long size)
    {
        var random = new Random(seed);
        List<SingleWrite> writes = [];
        List<LsnRange> voids = [];
        long lsn = random.Next(1, 1000), time = 1_700_000_000_000_000;
        var unit = 1L << random.Next(0, 13);
        while (writes.Count < count)
        {
            if (random.Next(20) == 0)
            {
                voids.Add(new(lsn, lsn + random.Next(5)));
                lsn = voids[^1].Last + 1;
            }

            var length = unit * random.Next(1, 9);
            var offset = random.NextInt64(0, Math.Max(1, size / unit)) * unit;
            time += random.Next(3) == 0 ? random.Next(1000) : 0;
            writes.Add(new(lsn++, time, (WriteKind)random.Next(1, 4), offset, length, random.Next(3)));
        }

        return ([.. writes], voids);
    }

    private static List<SingleWrite> List(PackedWrites packed)
    {
        List<SingleWrite> list = [];
        foreach (var write in packed)
            list.Add(write);
        return list;
    }

    // Every block of random writes, also one whose bytes are not all its own, is marked as its writes say.
    [Fact]
    public void A_look_over_a_block_marks_and_finds_what_its_writes_touch_and_faults_where_reading_does()
    {
        Gen.Select(Gen.Int[1, 600], Gen.Int[0, 16], Gen.Int[0, int.MaxValue]).Sample((count, unit, seed) =>
        {
            var random = new Random(seed);
            // Of one length every other time: those are stored as runs.
            var least = seed % 2 == 0 ? 49 : 1;
            var writes = new SingleWrite[count];
            for (var i = 0; i < count; i++)
                writes[i] = new(i + 1, 5 + i, WriteKind.Write, random.NextInt64(1 << 20) << unit, random.NextInt64(least, 50) << unit, 1);
            var bytes = PackedWrites.Encode(writes, [new(1, "a")], []);
            // Half of the writes lie behind the end of the map.
            using var map = new NativeBitmap(1L << (19 + unit), Granularity.FromShift(9 + random.Next(8)));
            using var expected = new NativeBitmap(map.VolumeBytes, map.Granularity);
            foreach (var write in writes.Where(w => w.Offset < map.VolumeBytes))
                expected.MarkDirty(write.Offset, Math.Min(write.Length, map.VolumeBytes - write.Offset));

            Assert.Equal(CodecFault.None, PackedScan.TryMark(bytes, map, out var lastLsn));

            Assert.Equal(writes[^1].Lsn, lastLsn);
            Assert.Equal(CodecFault.None, PackedScan.TryMark(bytes, map: null, out lastLsn));
            Assert.Equal(writes[^1].Lsn, lastLsn);
            Assert.Equal(expected.Extents(), map.Extents());
            for (var i = 0; i < 10; i++)
            {
                var offset = random.NextInt64(1 << 20) << unit;
                var end = offset + random.NextInt64(1, 10_000);
                Assert.Equal(CodecFault.None, PackedScan.TryTouches(bytes, offset, end, out var touches));
                Assert.Equal(writes.Any(w => w.Offset < end && w.End > offset), touches);
            }

            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            Assert.NotEqual(CodecFault.None, PackedScan.TryMark(bytes, map));
            Assert.NotEqual(CodecFault.None, PackedScan.TryTouches(bytes.AsSpan(0, random.Next(bytes.Length)), 0, 1, out _));
        }, iter: 300);
    }

    // Offsets take from one byte to nine; those that lie behind the end of the map are passed over.
    [Fact]
    public void Offsets_of_every_length_of_bytes_are_marked_as_they_were_written()
    {
        Gen.Select(Gen.Int[1, 2_000], Gen.Int[0, int.MaxValue]).Sample((count, seed) =>
        {
            var random = new Random(seed);
            var writes = new SingleWrite[count];
            for (var i = 0; i < count; i++)
                writes[i] = new(i + 1, 5, WriteKind.Write, random.NextInt64(1L << random.Next(62)), random.NextInt64(1, 1L << random.Next(1, 30)), 1);
            using var map = new NativeBitmap(1L << 46, Granularity.FromShift(24));
            using var expected = new NativeBitmap(map.VolumeBytes, map.Granularity);
            foreach (var write in writes.Where(w => w.Offset < map.VolumeBytes))
                expected.MarkDirty(write.Offset, Math.Min(write.Length, map.VolumeBytes - write.Offset));

            Assert.Equal(CodecFault.None, PackedScan.TryMark(PackedWrites.Encode(writes, [], []), map));

            Assert.Equal(expected.Extents(), map.Extents());
        }, iter: 300);
    }
}
