using BitmapLedger.Bitmaps.Codecs;
using CsCheck;

namespace BitmapLedger.Bitmaps.Tests;

public sealed class BitmapCodecTests
{
    [Fact]
    public void What_is_read_is_what_was_written_in_every_form()
    {
        Gen.Select(Gen.Int[0, 46], Gen.Int[9, 31], Gen.Int[0, 4], Gen.Int[0, int.MaxValue]).Sample((
            sizeShift, shift, form, seed) =>
        {
            var granularity = Granularity.FromShift(shift);
            var size = Math.Min((1L << sizeShift) + seed % 1000, 64L << 40);
            using var map = new NativeBitmap(size, granularity);
            Fill(map, form, new Random(seed));

            Assert.Equal(CodecFault.None, BitmapCodec.TryRead(BitmapCodec.Encode(map), out var read));

            using (read)
            {
                Assert.Equal((size, granularity), (read!.VolumeBytes, read.Granularity));
                Assert.Equal(map.Extents(), read.Extents());
            }
        }, iter: 300);
    }

    [Fact]
    public void Every_flipped_bit_and_every_truncation_is_a_fault()
    {
        using var map = new NativeBitmap(200_000 * 512L, Granularity.Finest);
        Fill(map, form: 2, new Random(5));
        Fill(map, form: 1, new Random(6));
        var bytes = BitmapCodec.Encode(map);

        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.NotEqual(CodecFault.None, BitmapCodec.TryRead(bytes, out _));
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
        }

        for (var length = 0; length < bytes.Length; length++)
            Assert.NotEqual(CodecFault.None, BitmapCodec.TryRead(bytes.AsSpan(0, length), out _));
    }

    [Fact]
    public void Sparse_bits_of_a_large_volume_take_few_bytes()
    {
        using var map = new NativeBitmap(64.TiB, Granularity.Finest);
        for (var i = 0; i < 100; i++)
            map.MarkDirty(i * 600L * (1 << 30), 512);

        Assert.InRange(BitmapCodec.Encode(map).Length, 1, 100 * 12);
    }

    private static void Fill(NativeBitmap map, int form, Random random)
    {
        switch (form)
        {
            case 0:
                break;
            case 1:
                map.MarkBlocks(new(map.BlockCount / 3, Math.Min(map.BlockCount / 2, 100_000)));
                break;
            case 2:
                for (var i = 0; i < 200; i++)
                    map.MarkBlocks(new(random.NextInt64(Math.Min(map.BlockCount, 100_000)), 1));
                break;
            case 3:
                for (var i = 0L; i < Math.Min(map.BlockCount, 70_000); i += 2)
                    map.MarkBlocks(new(i, 1));
                break;
            default:
                map.MarkBlocks(new(0, Math.Min(map.BlockCount, 200_000)));
                break;
        }
    }
}
