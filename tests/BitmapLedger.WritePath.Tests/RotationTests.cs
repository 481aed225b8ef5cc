using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>G4 under load, and how long it holds writers up.</summary>
public sealed class RotationTests
{
    private const int Writers = 16;
    private const int Rotations = 60;
    private const long BlocksPerWriter = 1 << 16;
    private const long Size = Writers * BlocksPerWriter * 512;
    private static readonly Guid _id = Guid.Parse("0190a000-0000-7000-8000-000000000003");

    // Method: every write marks a block that no other one marks, so at a fence after LSN n exactly n blocks are dirty: one
    // more or one less and a write is on the wrong side.
    [Fact]
    public async Task At_each_fence_among_sixteen_writers_the_bitmap_holds_the_writes_before_it_and_no_other()
    {
        using var scratch = new ScratchDirectory();
        using var volumes = Open(scratch);
        var volume = volumes.List().Select(e => ((VolumeExport)e).Volume).Single();
        using var stop = new CancellationTokenSource();
        var writing = Enumerable.Range(0, Writers).Select(w => Task.Factory.StartNew(
            () => Write(volume, w, stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)).ToArray();

        for (var i = 0; i < Rotations; i++)
        {
            var fence = Assert.IsType<Rotated>(volumes.Handle(new Rotate([new(_id, 512)]))).Fences[0];
            var digest = Assert.IsType<Digests>(volumes.Handle(new Digest(_id, fence.Number))).Bitmaps.Single();
            Assert.Equal(fence.Lsn * 512, digest.Count);
        }

        await stop.CancelAsync();
        await Task.WhenAll(writing);
        var stalls = volume.Status().Rotations;
        Assert.Equal(Rotations + 1, stalls.Count);
        Assert.InRange(stalls.MedianMicroseconds, 0, stalls.P99Microseconds);
        Assert.InRange(stalls.P99Microseconds, 0, stalls.LongestMicroseconds);
    }

    private static void Write(TrackedVolume volume, int number, CancellationToken cancellation)
    {
        using var writer = volume.Connect($"w{number}")!;
        var data = new byte[512];
        var batch = new PendingWrite[4];
        for (var block = 0L; block < BlocksPerWriter && !cancellation.IsCancellationRequested; block += batch.Length)
        {
            for (var i = 0; i < batch.Length; i++)
                batch[i] = new()
                {
                    Kind = WriteKind.Write,
                    Offset = ((number * BlocksPerWriter) + block + i) * 512,
                    Length = 512,
                };
            writer.Write(data, batch);
        }
    }

    private static VolumeSet Open(ScratchDirectory scratch)
    {
        using (var image = File.Create(scratch["v.img"]))
            image.SetLength(Size);
        var volumes = new VolumeSet(scratch.Path, Machine.This());
        Ask(volumes, new OpenVolume(new(
            _id, "v", scratch["v.img"], Size, ReadOnly: false, "process", "stall", 4L << 30, MinLsn: 0)));
        Ask(volumes, new PublishVolume(_id));
        var fence = Assert.IsType<Rotated>(volumes.Handle(new Rotate([new(_id, 512)]))).Fences[0];
        Ask(volumes, new Settle(_id, fence.Number, [new("b0", 512, Recording: true, [], File: null)]));
        return volumes;
    }

    private static void Ask(VolumeSet volumes, ControlRequest request) => Assert.IsType<Done>(volumes.Handle(request));
}
