using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Nbd;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;
using CsCheck;

namespace BitmapLedger.WritePath.Tests;

/// <summary>What the Agent does for a merge and for another size.</summary>
public sealed class ResizeAndMergeTests
{
    private const long FirstSize = 1_000_448;
    private static readonly Guid _id = Guid.Parse("0190a000-0000-7000-8000-000000000003");

    // Method: three bitmaps of different granularities and plain sets of blocks as their model; writes, merges through
    // coarser bitmaps, and other sizes, in any order.
    [Fact]
    public void Bitmaps_follow_a_naive_model_through_merges_and_other_sizes()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            using var scratch = new ScratchDirectory();
            using var volumes = Open(scratch);
            var random = new Random(seed);
            var size = FirstSize;
            Dictionary<string, Model> model = new(StringComparer.Ordinal)
            {
                ["fine"] = new(512, []),
                ["middle"] = new(4096, []),
                ["coarse"] = new(65536, []),
            };
            Settle(volumes, size, model, _ => []);
            using var writer = Volume(volumes).Connect("test")!;
            for (var step = 0; step < 30; step++)
            {
                switch (random.Next(4))
                {
                    case 0:
                        Merge(volumes, size, model, random);
                        break;
                    case 1:
                        size = random.NextInt64(1, 3000) * 512;
                        Settle(volumes, size, model, FromItself);
                        foreach (var bitmap in model.Values)
                            bitmap.Blocks.RemoveWhere(b => b * bitmap.Granularity >= size);
                        break;
                    default:
                        Write(writer, size, model, random);
                        break;
                }

                Assert.Equal(size, new FileInfo(scratch["v.img"]).Length);
                Assert.Equal(Expected(size, model), Digests(volumes, size));
            }
        }, iter: 30);
    }

    [Fact]
    public void A_write_behind_a_new_end_is_refused_and_those_beside_it_are_done()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);
        using var writer = Volume(volumes).Connect("test")!;
        _ = Rotate(volumes, 512L << 10);
        var batch = new[] { 0L, (512L << 10) - 256, 4096L }.Select(
            at => new PendingWrite { Kind = WriteKind.Write, Offset = at, Length = 512 }).ToArray();

        writer.Write(Enumerable.Repeat((byte)7, 512).ToArray(), batch);

        Assert.Equal([0, NbdErrno.NoSpace, 0], batch.Select(w => w.Errno));
        Assert.Equal(2, Volume(volumes).Status().LastLsn);
        Assert.Equal(512 << 10, new FileInfo(scratch["v.img"]).Length);
        Assert.Equal(7, File.ReadAllBytes(scratch["v.img"])[4096]);
    }

    [Fact]
    public void What_grows_back_reads_as_zeroes_and_outlives_the_agent()
    {
        using var scratch = new ScratchDirectory();
        using (var volumes = Open(scratch))
        {
            using var writer = Volume(volumes).Connect("test")!;
            PendingWrite[] batch = [new() { Kind = WriteKind.Write, Offset = 700_416, Length = 4096 }];
            writer.Write(Enumerable.Repeat((byte)7, 4096).ToArray(), batch);
            _ = Rotate(volumes, 512 << 10);
            _ = Rotate(volumes, 2 << 20);
            var read = new byte[4096];
            Assert.Equal(0, Volume(volumes).Read(700_416, read));
            Assert.Equal(new byte[4096], read);
        }

        using var again = new VolumeSet(scratch.Path, Machine.This());
        again.Recover(Assert.Fail);
        Assert.Equal(2 << 20, Volume(again).Status().Size);
    }

    [Fact]
    public void A_volume_of_another_size_is_cut_alone()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);

        var reply = volumes.Handle(new Rotate([new(_id, 512, Size: 4096), new(_id, 512)]));

        Assert.Equal("bad-argument", Assert.IsType<Failed>(reply).Code);
        Assert.Equal(FirstSize, new FileInfo(scratch["v.img"]).Length);
    }

    [Fact]
    public void The_bits_of_a_bitmap_come_as_a_file()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);
        Dictionary<string, Model> model = new(StringComparer.Ordinal) { ["b"] = new(4096, []) };
        Settle(volumes, FirstSize, model, _ => []);
        using var writer = Volume(volumes).Connect("test")!;
        Write(writer, FirstSize, model, new Random(1));
        var fence = Rotate(volumes, size: null);

        var file = Assert.IsType<BitsFile>(volumes.Handle(new ReadBits(_id, fence.Number, "b"))).File;
        var none = volumes.Handle(new ReadBits(_id, fence.Number, "c"));

        Assert.Equal(default, BitmapCodec.TryRead(File.ReadAllBytes(scratch[$"run/bits/{file}"]), out var bits));
        using (bits)
            Assert.Equal(Expected(FirstSize, model)["b"], bits!.Sha256());
        Assert.Equal("Dirty bitmap 'c' not found", Assert.IsType<Failed>(none).Message);
    }

    private static void Merge(VolumeSet volumes, long size, Dictionary<string, Model> model, Random random)
    {
        var names = model.Keys.ToArray();
        var (target, source) = (names[random.Next(3)], names[random.Next(3)]);
        var through = 512L << random.Next(9);
        Settle(volumes, size, model, name => name == target
            ? [new(target, model[target].Granularity), new(source, through)]
            : FromItself(name));
        var (from, to) = (model[source], model[target]);
        foreach (var block in from.Blocks.ToArray())
        {
            var first = block * from.Granularity / through * through;
            var end = Math.Max(first + through, (block + 1) * from.Granularity);
            for (var at = first; at < Math.Min(end, size); at += 512)
                to.Blocks.Add(at / to.Granularity);
        }
    }

    private static List<BitsFrom> FromItself(string name) => [new(name, 512)];

    private static void Write(VolumeWriter writer, long size, Dictionary<string, Model> model, Random random)
    {
        var length = random.NextInt64(1, Math.Min(size, 20_000));
        var offset = random.NextInt64(0, size - length + 1);
        PendingWrite[] batch = [new() { Kind = WriteKind.Write, Offset = offset, Length = length }];
        writer.Write(new byte[length], batch);
        Assert.Equal(0, batch[0].Errno);
        foreach (var bitmap in model.Values)
            for (var block = offset / bitmap.Granularity; block <= (offset + length - 1) / bitmap.Granularity; block++)
                bitmap.Blocks.Add(block);
    }

    private static void Settle(
        VolumeSet volumes, long size, Dictionary<string, Model> model, Func<string, List<BitsFrom>> from)
    {
        var fence = Rotate(volumes, size == Volume(volumes).Status().Size ? null : size);
        Assert.IsType<Done>(volumes.Handle(new Settle(_id, fence.Number, [.. model.Select(
            m => new BitmapSource(m.Key, m.Value.Granularity, Recording: true, from(m.Key), File: null))])));
    }

    private static Fence Rotate(VolumeSet volumes, long? size) =>
        Assert.IsType<Rotated>(volumes.Handle(new Rotate([new(_id, 512, size)]))).Fences[0];

    private static Dictionary<string, string> Expected(long size, Dictionary<string, Model> model) => model.ToDictionary(m => m.Key, m =>
    {
        using var map = new NativeBitmap(size, Granularity.FromBytes(m.Value.Granularity));
        foreach (var block in m.Value.Blocks)
            map.MarkBlocks(new(block, 1));
        return map.Sha256();
    });

    private static Dictionary<string, string> Digests(VolumeSet volumes, long size)
    {
        Assert.Equal(size, Volume(volumes).Status().Size);
        var fence = Rotate(volumes, size: null);
        return ((Digests)volumes.Handle(new Digest(_id, fence.Number))).Bitmaps.ToDictionary(d => d.Name, d => d.Sha256);
    }

    private static TrackedVolume Volume(VolumeSet volumes) => ((VolumeExport)volumes.List()[0]).Volume;

    private static VolumeSet Open(ScratchDirectory scratch)
    {
        using (var file = File.Create(scratch["v.img"]))
            file.SetLength(FirstSize);
        var volumes = new VolumeSet(scratch.Path, Machine.This());
        var spec = new VolumeSpec(_id, "v", scratch["v.img"], FirstSize, ReadOnly: false, "process", "stall", 1L << 30, MinLsn: 0);
        Assert.IsType<Done>(volumes.Handle(new OpenVolume(spec)));
        Assert.IsType<Done>(volumes.Handle(new PublishVolume(_id)));
        return volumes;
    }

    private sealed record Model(long Granularity, HashSet<long> Blocks);
}
