using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Nbd;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Backends;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;
using CsCheck;

namespace BitmapLedger.WritePath.Tests;

public sealed class TrackedVolumeTests
{
    private const long Size = 1_000_448;
    private static readonly Guid _id = Guid.Parse("0190a000-0000-7000-8000-000000000002");

    // Method: random writes, rotations and table changes; sets of dirty blocks are the model of three bitmaps, and
    // the digests
    // at each fence and the extents over NBD must follow it.
    [Fact]
    public void Bitmaps_follow_a_naive_model_through_rotations_and_settlements()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            using var scratch = new ScratchDirectory();
            using var volumes = Open(scratch);
            var volume = Volume(volumes);
            using var writer = volume.Connect("test")!;
            var random = new Random(seed);
            var model = new Dictionary<string, (
                long Granularity, bool Recording, HashSet<long> Blocks)>(StringComparer.Ordinal);
            Settle(volumes, model, _ => { });
            for (var step = 0; step < 40; step++)
            {
                var name = $"b{random.Next(3)}";
                switch (random.Next(7))
                {
                    case 0 when !model.ContainsKey(name):
                        Settle(volumes, model, m => m[name] = (
                            512L << random.Next(9), random.Next(4) > 0, []), added: name);
                        break;
                    case 1 when model.ContainsKey(name):
                        Settle(volumes, model, m => m[name] = m[name] with { Blocks = [] }, cleared: name);
                        break;
                    case 2 when model.ContainsKey(name):
                        Settle(volumes, model, m => m[name] = m[name] with { Recording = !m[name].Recording });
                        break;
                    case 3:
                        Settle(volumes, model, m => m.Remove(name));
                        break;
                    default:
                        Write(writer, random, model);
                        break;
                }

                foreach (var (bitmap, (granularity, _, blocks)) in model)
                    Assert.Equal(Expected(blocks, granularity), Dirty(volume, $"qemu:dirty-bitmap:{bitmap}"));
            }
        }, iter: 40);
    }

    [Fact]
    public async Task No_write_is_on_both_sides_of_a_fence_or_on_neither()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);
        var volume = Volume(volumes);
        using var stop = new CancellationTokenSource();
        var writing = Enumerable.Range(0, 4).Select(t => Task.Run(() =>
        {
            using var writer = volume.Connect($"t{t}")!;
            var random = new Random(t);
            while (!stop.IsCancellationRequested)
                WriteOne(writer, random.NextInt64(Size / 512) * 512, 512);
        })).ToArray();

        var fences = new List<Fence>();
        for (var i = 0; i < 200; i++)
            fences.Add(((Rotated)volumes.Handle(new Rotate([new(_id, 512)]))).Fences[0]);
        await stop.CancelAsync();
        await Task.WhenAll(writing);

        Assert.Equal(Enumerable.Range(1, 200).Select(i => (long)i), fences.Select(f => f.Number));
        using var reader = new Journal.JournalReader(Path.Combine(scratch.Path, "journal", _id.ToString("D")), _id);
        var writes = new SingleWrite[1 << 20];
        var count = reader.Read(0, writes);
        Assert.Equal(volume.Status().LastLsn, count);
        // Fences and writes agree on who was first, by LSN and by time.
        Assert.All(fences.Zip(fences.Skip(1)), p => Assert.True(
            p.First.Lsn <= p.Second.Lsn && p.First.TimeMicroseconds <= p.Second.TimeMicroseconds));
        Assert.All(writes[..count], w => Assert.True(fences.TrueForAll(f =>
            w.TimeMicroseconds == f.TimeMicroseconds || f.Lsn < w.Lsn == w.TimeMicroseconds > f.TimeMicroseconds)));
    }

    [Fact]
    public void A_writer_that_stays_inside_makes_the_rotation_busy_and_not_hang()
    {
        using var gate = new Gate();
        var writer = gate.Register();
        gate.Enter(writer);

        Assert.False(gate.TryClose(TimeSpan.FromMilliseconds(50), TimeProvider.System));
        gate.Leave(writer);
        Assert.True(gate.TryClose(TimeSpan.FromMinutes(1), TimeProvider.System));
        gate.Open();
        gate.Enter(writer);
        gate.Leave(writer);
    }

    [Theory]
    [InlineData("process")]
    [InlineData("power")]
    public void A_batch_allocates_nothing_after_the_first(string durability)
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch, durability);
        using var writer = Volume(volumes).Connect("t")!;
        var data = new byte[32 * 4096];
        var batch = Enumerable.Range(0, 32).Select(i => new PendingWrite
        {
            Kind = WriteKind.Write,
            Offset = i * 8192,
            Length = 4096,
            DataStart = i * 4096,
        }).ToArray();
        writer.Write(data, batch);
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 50; i++)
            writer.Write(data, batch);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.All(batch, w => Assert.Equal(0, w.Errno));
    }

    [Fact]
    public void An_image_that_qemu_has_open_is_refused_and_ours_is_refused_to_qemu()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);

        var qemu = Tool.Run("qemu-io", "-f", "raw", "-c", "write 0 512", scratch["v.img"]);
        var second = Assert.Throws<BackendException>(() => RawFileBackend.Open(scratch["v.img"], readOnly: false));

        Assert.Contains("Failed to get \"write\" lock", qemu.Error, StringComparison.Ordinal);
        Assert.Equal("in-use", second.Code);
        Assert.Contains(scratch["v.img"], second.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../../etc/passwd")]
    [InlineData("..")]
    [InlineData("a/b")]
    public void Bits_come_from_their_own_directory_only(string file)
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);

        var reply = volumes.Handle(new Settle(_id, 0, [new("b", 65536, true, [], file)]));

        Assert.Equal("bad-argument", Assert.IsType<Failed>(reply).Code);
    }

    [Fact]
    public void A_durability_that_nobody_knows_is_refused_by_name()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);

        var reply = volumes.Handle(new OpenVolume(
            Spec(scratch) with { Id = Guid.NewGuid(), File = Image(scratch["w.img"]), Durability = "eternal" }));

        Assert.Contains("eternal", Assert.IsType<Failed>(reply).Message, StringComparison.Ordinal);
    }

    private static VolumeSpec Spec(ScratchDirectory scratch) =>
        new(_id, "v", scratch["v.img"], Size, ReadOnly: false, "process", "stall", 1L << 30, MinLsn: 0);

    private static string Image(string path)
    {
        using var file = File.Create(path);
        file.SetLength(Size);
        return path;
    }

    private static VolumeSet Open(ScratchDirectory scratch, string durability = "process")
    {
        _ = Image(scratch["v.img"]);
        var volumes = new VolumeSet(scratch.Path, Machine.This());
        Assert.IsType<Done>(volumes.Handle(new OpenVolume(Spec(scratch) with { Durability = durability })));
        Assert.IsType<Done>(volumes.Handle(new PublishVolume(_id)));
        return volumes;
    }

    private static TrackedVolume Volume(VolumeSet volumes) => ((VolumeExport)volumes.List()[0]).Volume;

    private static void WriteOne(VolumeWriter writer, long offset, long length)
    {
        PendingWrite[] batch = [new() { Kind = WriteKind.Write, Offset = offset, Length = length }];
        writer.Write(new byte[length], batch);
        Assert.Equal(0, batch[0].Errno);
    }

    private static void Write(VolumeWriter writer, Random random, Dictionary<string, (
        long Granularity, bool Recording, HashSet<long> Blocks)> model)
    {
        var length = random.Next(1, 20_000);
        var offset = random.NextInt64(0, Size - length + 1);
        WriteOne(writer, offset, length);
        foreach (var (granularity, _, blocks) in model.Values.Where(b => b.Recording))
            for (var block = offset / granularity; block <= (offset + length - 1) / granularity; block++)
                blocks.Add(block);
    }

    /// <summary>Rotates, changes the table as the model changes, and compares the digests at the fence on the
    /// way.</summary>
    private static void Settle(
        VolumeSet volumes, Dictionary<string, (long Granularity, bool Recording, HashSet<long> Blocks)> model,
        Action<Dictionary<string, (
            long Granularity, bool Recording,
            HashSet<long> Blocks)>> change, string? added = null, string? cleared = null)
    {
        var fence = ((Rotated)volumes.Handle(new Rotate([new(_id, 512)]))).Fences[0];
        var digests = ((Digests)volumes.Handle(new Digest(_id, fence.Number))).Bitmaps;
        Assert.Equal(
            model.Select(m => (m.Key, m.Value.Blocks.Count * m.Value.Granularity)).Order(), digests.Select(
                d => (d.Name, d.Count)).Order());
        change(model);
        var table = model.Select(m => new BitmapSource(
            m.Key, m.Value.Granularity, m.Value.Recording, m.Key == added || m.Key == cleared ? [] : [new BitsFrom(m.Key, Through: 512)], File: null));
        Assert.IsType<Done>(volumes.Handle(new Settle(_id, fence.Number, [.. table])));
    }

    private static (long, long)[] Expected(HashSet<long> blocks, long granularity) =>
        Extents.Merge(blocks.Select(b => (b * granularity, Math.Min(granularity, Size - b * granularity))));

    private static (long, long)[] Dirty(TrackedVolume volume, string context)
    {
        var found = new VolumeExport(volume).Contexts().Single(c => c.Name == context);
        List<StatusExtent> extents = [];
        Assert.True(found.TryDescribe(0, Size, NbdLimits.ExtentsMax, extents));
        Assert.Equal(Size, extents.Sum(e => e.Length));
        var at = 0L;
        return [.. extents.Select(e => (Offset: (at += e.Length) - e.Length, e.Length, e.Flags)).Where(
            e => e.Flags == 1).Select(e => (e.Offset, e.Length))];
    }
}
