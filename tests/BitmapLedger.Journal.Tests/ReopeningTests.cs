using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>What an end of a run, in order or not, leaves to the next one.</summary>
public sealed class ReopeningTests
{
    private const int SegmentBytes = 512 + 31 * JournalSlot.Size;
    private const int Writes = 70;
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000005");

    // Method: the disk refuses the first change that an open makes, then the second, and so on. Each time the open fails, holds
    // no file, and the next one finds everything.
    [Theory]
    [InlineData(JournalDurability.Process)]
    [InlineData(JournalDurability.Power)]
    public void An_open_that_failed_half_way_holds_nothing_and_loses_nothing(JournalDurability durability)
    {
        using var killed = new ScratchDirectory();
        using (var writer = JournalWriter.Open(Options(killed, durability)))
        {
            Append(writer, Writes);
            using var left = CopyOf(killed);
            var refused = 0;
            while (FailsAfter(left, durability, refused))
                refused++;
            Assert.InRange(refused, 5, 200);
        }
    }

    [Fact]
    public void A_power_loss_after_a_start_tells_nothing_of_what_was_closed_in_order()
    {
        using var scratch = new ScratchDirectory();
        using (var writer = JournalWriter.Open(Options(scratch, JournalDurability.Power)))
        {
            Append(writer, Writes);
            Assert.True(writer.TryMakeDurable());
            Assert.True(writer.TryBeginFlush(out var lsn));
            writer.EndFlush(lsn);
        }

        using (JournalWriter.Open(Options(scratch, JournalDurability.Power)))
        {
            using var left = CopyOf(scratch);
            using var after = JournalWriter.Open(Options(left, JournalDurability.Power) with { BootId = "another" });
            Assert.Empty(after.Recovered);
        }
    }

    [Fact]
    public void Under_process_nothing_is_added_to_segments_that_the_disk_may_have_refused_and_what_they_lack_is_no_damage()
    {
        using var scratch = new ScratchDirectory();
        using (var writer = JournalWriter.Open(Options(scratch, JournalDurability.Process)))
        {
            Append(writer, 20);
            writer.FailFlush();
        }

        long last;
        using (var writer = JournalWriter.Open(Options(scratch, JournalDurability.Process)))
        {
            Assert.NotNull(writer.Lost);
            Append(writer, 1);
            last = writer.LastLsn;
            writer.AcknowledgeLoss();
        }

        var segment = File.ReadAllBytes(scratch[SegmentHeader.FileName(1)]);
        segment.AsSpan(1024, 512).Clear();
        File.WriteAllBytes(scratch[SegmentHeader.FileName(1)], segment);
        using var reader = new JournalReader(scratch.Path, _volume);
        var target = new SingleWrite[64];
        var read = reader.Read(0, target);

        Assert.Equal((13, last), (read, target[read - 1].Lsn));
        Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
        using var again = JournalWriter.Open(Options(scratch, JournalDurability.Process));
        Assert.Equal(last, again.LastLsn);
    }

    private static bool FailsAfter(ScratchDirectory left, JournalDurability durability, int changes)
    {
        using var scratch = CopyOf(left);
        var disk = new RefusingDisk(changes);
        try
        {
            using var writer = JournalWriter.Open(Options(scratch, durability) with { Disk = disk, PreparesAhead = false });
            return false;
        }
        catch (IOException)
        {
            Assert.Equal(0, disk.OpenFiles);
        }

        using (var writer = JournalWriter.Open(Options(scratch, durability)))
            Assert.Equal(Writes, writer.LastLsn);
        using var reader = new JournalReader(scratch.Path, _volume);
        Assert.Equal(Writes, reader.Read(0, new SingleWrite[2 * Writes]));
        return true;
    }

    private static ScratchDirectory CopyOf(ScratchDirectory source)
    {
        var copy = new ScratchDirectory();
        foreach (var file in Directory.GetFiles(source.Path))
            File.Copy(file, copy[Path.GetFileName(file)]);
        return copy;
    }

    private static void Append(JournalWriter writer, int count)
    {
        var connection = writer.Connect("c");
        for (; count > 0; count--)
        {
            WriteRequest[] write = [new(WriteKind.Write, 4096, 512)];
            Assert.True(writer.Reserve(1, wait: false));
            var isProtected = writer.TryProtect(write);
            Assert.True(writer.TryAppend(write, connection, out _));
            writer.Complete(write, connection, isProtected);
        }
    }

    private static JournalOptions Options(ScratchDirectory scratch, JournalDurability durability) =>
        new(scratch.Path, _volume, 1 << 20, MinLsn: 0, TimeProvider.System, SegmentBytes)
        {
            Durability = durability,
            VolumeBytes = 1 << 20,
            RegionBytes = 1 << 16,
            RegionsMax = 16,
        };

    /// <summary>Refuses one change, counted from the first.</summary>
    private sealed class RefusingDisk(int changes) : ChangedDisk
    {
        private int _left = changes;

        public override bool HasForgotten(string directory) => false;

        public override bool CanRead(string directory) => true;

        protected override void Change()
        {
            if (_left-- == 0)
                throw new IOException("input/output error");
        }

        protected override void Sync() => Change();
    }
}
