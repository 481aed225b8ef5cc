using System.Diagnostics;
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
    [Fact]
    public async Task Every_block_that_differs_between_two_checkpoints_is_in_changed()
    {
        await using var ledger = await Ledger.StartAsync();
        var image = ledger.Scratch("disk.img");
        await File.WriteAllBytesAsync(image, new byte[1]);
        Tool.Run("truncate", "-s", "256M", image).Expect();
        ledger.Json("volume", "add", "fs", "--backend", $"file:{image}");
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

    private static (long Offset, long Length)[] Changed(Ledger ledger, string from, string to) =>
        Extents.Of(ledger.Json("changed", "fs", "--from", from, "--to", to, "--granularity", $"{Block}"));

    private static void Checkpoint(Ledger ledger, string image, string name)
    {
        Tool.Run("sync").Expect();
        ledger.Json("checkpoint", "create", "fs", name);
        Tool.Run("cp", "--sparse=always", image, ledger.Scratch(name)).Expect();
    }

    private static void AssertCovered((long Offset, long Length)[] changed, List<long> differing) =>
        Assert.All(differing, block => Assert.Contains(
            changed, e => e.Offset <= block && block + Block <= e.Offset + e.Length));

    private static List<long> Differing(string left, string right)
    {
        List<long> blocks = [];
        using var a = File.OpenRead(left);
        using var b = File.OpenRead(right);
        byte[] ofA = new byte[Block], ofB = new byte[Block];
        for (var offset = 0L; offset < a.Length; offset += Block)
        {
            a.ReadExactly(ofA);
            b.ReadExactly(ofB);
            if (!ofA.AsSpan().SequenceEqual(ofB))
                blocks.Add(offset);
        }

        return blocks;
    }

    private sealed class MountedDisk : IDisposable
    {
        private readonly Process _fuse;
        private readonly string _fuseDirectory;
        private readonly string _mountPoint;

        private MountedDisk(Process fuse, string fuseDirectory, string mountPoint)
        {
            _fuse = fuse;
            _fuseDirectory = fuseDirectory;
            _mountPoint = mountPoint;
        }

        public static async Task<MountedDisk> CreateAsync(Ledger ledger)
        {
            var directory = Directory.CreateDirectory(ledger.Scratch("fuse")).FullName;
            var mountPoint = Directory.CreateDirectory(ledger.Scratch("mnt")).FullName;
            var fuse = Tool.Start("nbdfuse", [directory, ledger.Export("fs")]);
            var disk = new MountedDisk(fuse, directory, mountPoint);
            using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
            while (!File.Exists(Path.Combine(directory, "nbd")))
                await Task.Delay(20, limit.Token);
            Tool.Run("mkfs.ext4", "-q", "-F", Path.Combine(directory, "nbd")).Expect();
            Tool.Run("mount", "-o", "loop", Path.Combine(directory, "nbd"), mountPoint).Expect();
            return disk;
        }

        public void Fill(string name, int seed)
        {
            var random = new Random(seed);
            var folder = Directory.CreateDirectory(Path.Combine(_mountPoint, name)).FullName;
            for (var file = 0; file < 60; file++)
            {
                var data = new byte[random.Next(1, 300_000)];
                random.NextBytes(data);
                File.WriteAllBytes(Path.Combine(folder, $"{file}"), data);
            }

            Sync();
        }

        public void Remove(string name)
        {
            Directory.Delete(Path.Combine(_mountPoint, name), recursive: true);
            Sync();
        }

        public void Dispose()
        {
            Tool.Run("umount", _mountPoint);
            Tool.Run("umount", _fuseDirectory);
            if (!_fuse.WaitForExit(10_000))
                _fuse.Kill();
            _fuse.Dispose();
        }

        private void Sync() => Tool.Run("sync", "-f", _mountPoint).Expect();
    }
}
