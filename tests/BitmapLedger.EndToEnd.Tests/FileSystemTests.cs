using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A real file system on a volume: no block may differ between two instants and not be reported between
/// them.</summary>
public sealed class FileSystemTests
{
    private const int Block = 4096;

    // Method: nbdfuse shows the volume as a file, a loop device makes it a disk, ext4 lives on it. The image is
    // copied at
    // two checkpoints with the file system synced; a compare of the copies is the truth that `bml changed` is held to.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task Every_block_that_differs_between_two_checkpoints_is_in_changed()
    {
        await using var ledger = await Ledger.StartAsync();
        var image = AddVolume(ledger);
        using (var disk = await MountedDisk.CreateAsync(ledger))
        {
            disk.Fill("one", seed: 1);
            Checkpoint(ledger, image, "c1");
            disk.Fill("two", seed: 2);
            disk.Remove("one");
            Checkpoint(ledger, image, "c2");
        }

        Checkpoint(ledger, image, "c3");
        string[] names = ["start", "checkpoint:c1", "checkpoint:c2", "checkpoint:c3"];
        Assert.NotEmpty(Differing(ledger.Scratch("c1"), ledger.Scratch("c2")));
        AssertCovered(Changed(ledger, names[1], names[2]), Differing(ledger.Scratch("c1"), ledger.Scratch("c2")));
        AssertCovered(Changed(ledger, names[2], names[3]), Differing(ledger.Scratch("c2"), ledger.Scratch("c3")));
        for (var middle = 1; middle < names.Length - 1; middle++)
        {
            var parts = Changed(
                ledger, names[middle - 1], names[middle]).Concat(Changed(ledger, names[middle], names[middle + 1]));
            Assert.Equal(Changed(ledger, names[middle - 1], names[middle + 1]), Extents.Merge(parts));
        }
    }

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task A_file_system_goes_on_without_an_error_while_server_and_database_are_killed()
    {
        await using var ledger = await Ledger.StartAsync();
        var image = AddVolume(ledger);
        using (var disk = await MountedDisk.CreateAsync(ledger))
        {
            disk.Fill("before", seed: 1);
            ledger.Kill("server", "postgres");
            disk.Fill("meanwhile", seed: 2);
            await ledger.AnswersAsync("verify", "fs");
            disk.Fill("after", seed: 3);
            Assert.Equal(MountedDisk.Expected(seed: 2), disk.Content("meanwhile"));
        }

        Tool.Run("e2fsck", "-f", "-n", image).Expect();
        Assert.True(ledger.Json("verify", "fs").GetProperty("equal").GetBoolean());
    }

    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task After_a_killed_agent_every_block_that_differs_is_in_changed()
    {
        await using var ledger = await Ledger.StartAsync();
        var image = AddVolume(ledger);
        using (var disk = await MountedDisk.CreateAsync(ledger))
        {
            disk.Fill("one", seed: 1);
            Checkpoint(ledger, image, "c1");
            disk.Fill("two", seed: 2);
            var filling = Task.Run(() => disk.Fill("three", seed: 3));
            await disk.AppearsAsync("three");
            ledger.Kill("agent");
            // What the file system says of its lost disk is its own matter.
            await filling.ContinueWith(_ => { }, TaskScheduler.Default);
        }

        await ledger.AnswersAsync("verify", "fs");
        var differing = Differing(ledger.Scratch("c1"), image);
        Assert.NotEmpty(differing);
        AssertCovered(Changed(ledger, "checkpoint:c1", "now"), differing);
        Assert.True(ledger.Json("verify", "fs").GetProperty("equal").GetBoolean());
    }

    // Method: the ledger itself lies on a disk that forgets with the power what no flush covered.
    [Fact(Skip = Mounts.Why, SkipUnless = nameof(Mounts.Work), SkipType = typeof(Mounts))]
    public async Task After_a_loss_of_power_what_was_synced_is_there_and_every_block_that_differs_is_in_changed()
    {
        using var disk = await UnreliableDisk.CreateAsync(megabytes: 1536);
        await using var ledger = await Ledger.StartAtAsync(disk["d"]);
        ledger.Json("volume", "create", "fs", "--size", "256M");
        var image = Path.Combine(ledger.DataDirectory, "volumes", "fs.img");
        using (var mounted = await MountedDisk.CreateAsync(ledger))
        {
            mounted.Fill("one", seed: 1);
            Checkpoint(ledger, image, "c1");
            mounted.Fill("two", seed: 2);
            var filling = Task.Run(() => mounted.Fill("three", seed: 3));
            await mounted.AppearsAsync("three");
            ledger.Freeze();
            await disk.LosePowerAsync(seed: 4, ledger.KillFrozen);
            // What the file system says of its lost disk is its own matter.
            await filling.ContinueWith(_ => { }, TaskScheduler.Default);
        }

        ledger.Variables["BITMAPLEDGER_BOOT_ID"] = $"{Guid.NewGuid()}";
        await ledger.ServeAsync();
        var differing = Differing(ledger.Scratch("c1"), image);
        Assert.NotEmpty(differing);
        AssertCovered(Changed(ledger, "checkpoint:c1", "now"), differing);
        using (var again = await MountedDisk.AgainAsync(ledger))
        {
            Assert.Equal(MountedDisk.Expected(seed: 1), again.Content("one"));
            Assert.Equal(MountedDisk.Expected(seed: 2), again.Content("two"));
            again.Fill("four", seed: 4);
        }

        Tool.Run("e2fsck", "-f", "-n", image).Expect();
        Assert.True(ledger.Json("verify", "fs").GetProperty("equal").GetBoolean());
        ledger.Bml("check").Expect();
    }

    private static string AddVolume(Ledger ledger)
    {
        var image = ledger.Scratch("disk.img");
        Tool.Run("truncate", "-s", "256M", image).Expect();
        ledger.Json("volume", "add", "fs", "--backend", $"file:{image}");
        return image;
    }

    private static (long Offset, long Length)[] Changed(Ledger ledger, string from, string to) =>
        Extents.Of(ledger.Json("changed", "fs", "--from", from, "--to", to, "--granularity", $"{Block}"));

    private static void Checkpoint(Ledger ledger, string image, string name)
    {
        Tool.Run("sync").Expect();
        ledger.Json("checkpoint", "create", "fs", name);
        Tool.Run("cp", "--sparse=always", image, ledger.Scratch(name)).Expect();
    }

    private static void AssertCovered((long Offset, long Length)[] changed, List<long> differing) =>
        Assert.Empty(DataCompare.NotIn(changed, differing, Block));

    private static List<long> Differing(string left, string right) => DataCompare.Differing(left, right, Block);
}
