using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>A file system that is mounted anew within a boot has not got what was in the kernel's memory.</summary>
public sealed class MountInstanceTests
{
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000006");

    [Fact]
    public void A_file_system_that_is_mounted_again_is_another_one_and_a_bind_mount_of_it_is_not()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        using var scratch = new ScratchDirectory();
        var (first, second) = (Directory.CreateDirectory(scratch["a"]).FullName, Directory.CreateDirectory(scratch["b"]).FullName);
        using (var image = File.Create(scratch["image"]))
            image.SetLength(16 << 20);
        Tool.Run("mkfs.ext4", "-q", "-F", scratch["image"]).Expect();
        var loop = Tool.Run("losetup", "-f", "--show", scratch["image"]).Expect().Output.Trim();
        try
        {
            var before = Mounted(() =>
            {
                Tool.Run("mount", "--bind", first, second).Expect();
                var seen = (MountInstance.Of(first), MountInstance.Of(second));
                Tool.Run("umount", second).Expect();
                return seen;
            });
            var after = Mounted(() => (MountInstance.Of(first), MountInstance.Of(first)));

            Assert.NotEqual(0, before.Item1);
            Assert.Equal(before.Item1, before.Item2);
            Assert.Equal(after.Item1, after.Item2);
            Assert.NotEqual(before.Item1, after.Item1);
        }
        finally
        {
            Tool.Run("losetup", "-d", loop).Expect();
        }

        (long, long) Mounted(Func<(long, long)> look)
        {
            Tool.Run("mount", loop, first).Expect();
            try
            {
                return look();
            }
            finally
            {
                Tool.Run("umount", first).Expect();
            }
        }
    }

    [Fact]
    public void What_is_nowhere_or_on_no_disk_says_nothing() => Assert.Equal(0, MountInstance.Of("/proc", "/proc/nowhere/at/all", "nowhere"));

    [Fact]
    public void What_is_not_there_yet_will_be_where_its_directory_is()
    {
        using var scratch = new ScratchDirectory();

        Assert.Equal(MountInstance.Of(scratch.Path), MountInstance.Of(scratch["journal/volume"]));
    }

    [Theory]
    [InlineData(7, 7, false)]
    [InlineData(7, 8, true)]
    [InlineData(0, 8, false)]
    [InlineData(7, 0, false)]
    public void A_process_that_ended_is_a_power_loss_to_a_journal_that_was_mounted_again(long before, long after, bool isLoss)
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(Options(scratch, before));
        WriteRequest[] write = [new(WriteKind.Write, 3 << 20, 512)];
        var connection = writer.Connect("c");
        Assert.True(writer.Reserve(1, wait: false));
        Assert.True(writer.TryProtect(write));
        Assert.True(writer.TryAppend(write, connection, out _));
        writer.Complete(write, connection, isProtected: true);
        using var left = new ScratchDirectory();
        foreach (var file in Directory.GetFiles(scratch.Path))
            File.Copy(file, left[Path.GetFileName(file)]);

        using var again = JournalWriter.Open(Options(left, after));

        Assert.Equal(isLoss ? [new Extent(3 << 20, 1 << 20)] : [], again.Recovered);
    }

    private static JournalOptions Options(ScratchDirectory scratch, long mounts) =>
        new(scratch.Path, _volume, 1 << 20, MinLsn: 0, TimeProvider.System, SegmentBytes: 1 << 14)
        {
            Durability = JournalDurability.Power,
            VolumeBytes = 16 << 20,
            RegionBytes = 1 << 20,
            Mounts = mounts,
        };
}
