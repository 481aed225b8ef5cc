using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>Bits between Server and Agent.</summary>
public sealed class BitsFilesTests
{
    [Fact]
    public void What_was_on_its_way_when_an_agent_ended_is_gone_when_the_next_one_begins()
    {
        using var scratch = new ScratchDirectory();
        using (var before = new VolumeSet(scratch.Path, Machine.This()))
            before.Bits.Put([1, 2, 3]);
        Assert.Single(Directory.GetFiles(scratch["run/bits"]));

        using var volumes = new VolumeSet(scratch.Path, Machine.This());
        volumes.Recover(Assert.Fail);

        Assert.Empty(Directory.GetFiles(scratch["run/bits"]));
    }
}
