using System.Buffers.Binary;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>What stands between a write and a power loss, part by part; the whole of it is in the simulation.</summary>
public sealed class DurabilityTests
{
    private const long Region = 1 << 20;
    private const string Boot = "00000000-0000-0000-0000-000000000001";
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000003");

    [Fact]
    public void A_region_is_in_the_file_before_its_write_and_gives_way_once_it_is_clean()
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(Options(scratch));
        var connection = writer.Connect("c");
        WriteRequest[] first = [Write(0)], second = [Write(7 * Region)], third = [Write(3 * Region)];

        Assert.True(writer.TryProtect(first));
        Assert.True(writer.TryProtect(second));
        Assert.Equal([0, 7], Regions(scratch));
        Assert.False(writer.TryProtect(third), "two regions are in use and there is room for two");

        Append(writer, connection, first);
        Append(writer, connection, second);
        Assert.False(writer.TryProtect(third), "nothing of them is durable yet");
        Assert.True(writer.TryMakeDurable());
        Assert.False(writer.TryProtect(third), "their data is not durable yet");
        Flush(writer);
        Assert.True(writer.TryProtect(third));
        Assert.Contains(3, Regions(scratch));
    }

    [Fact]
    public void A_write_over_several_regions_has_all_of_them_or_none()
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(Options(scratch));

        Assert.False(writer.TryProtect([new(WriteKind.Trim, Region / 2, 2 * Region)]));
        Assert.True(writer.TryProtect([new(WriteKind.Trim, 4 * Region - 1, 2)]));

        Assert.Equal([3, 4], Regions(scratch));
    }

    // Method: the process is killed when the system has told it that a flush has failed and before `boot` says so; what it
    // left is the note of the flush alone.
    [Theory]
    [InlineData(1, false)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    public void A_flush_that_failed_just_before_a_kill_is_known_to_the_next_run(int noted, bool hasForgotten)
    {
        using var scratch = new ScratchDirectory();
        var data = new ForgetfulData { Forgotten = hasForgotten };
        using (var writer = JournalWriter.Open(Options(scratch) with { Data = data }))
        {
            var connection = writer.Connect("c");
            Assert.True(writer.TryProtect([Write(0)]));
            Append(writer, connection, [Write(0)]);
            Assert.True(writer.TryMakeDurable());
            Assert.True(writer.TryBeginFlush(out _));
            var open = File.ReadAllBytes(scratch["boot"]);
            writer.FailFlush();
            writer.Dispose();
            File.WriteAllBytes(scratch["boot"], open);
            File.WriteAllBytes(scratch["flush"], [.. "BMFL"u8, 1, (byte)noted, 0, 0]);
        }

        using var again = JournalWriter.Open(Options(scratch) with { Data = data });

        var isKnown = noted == 2 || hasForgotten;
        Assert.Equal(isKnown, data.IsShown);
        Assert.Equal(isKnown ? [new Extent(0, Region)] : [], again.Recovered);
    }

    [Fact]
    public void A_flush_with_nothing_to_flush_is_none()
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(Options(scratch));
        var connection = writer.Connect("c");
        Assert.True(writer.TryProtect([Write(0)]));
        Append(writer, connection, [Write(0)]);
        Flush(writer);

        Assert.False(writer.TryBeginFlush(out _));
        Assert.True(writer.TryProtect([Write(0)]));
        Append(writer, connection, [Write(0)]);
        Assert.True(writer.TryBeginFlush(out var lsn));
        Assert.Equal(2, lsn);
    }

    [Fact]
    public async Task A_group_commit_gives_each_caller_one_that_began_after_its_call()
    {
        var begun = 0;
        var commit = new GroupCommit(() =>
        {
            Interlocked.Increment(ref begun);
            Thread.Yield();
            return true;
        });
        var calls = 0;

        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Factory.StartNew(
            () =>
            {
                for (var i = 0; i < 500; i++)
                {
                    var before = Volatile.Read(ref begun);
                    Assert.True(commit.Run());
                    Assert.True(Volatile.Read(ref begun) > before);
                    Interlocked.Increment(ref calls);
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

        Assert.Equal(4000, calls);
        Assert.InRange(begun, 1, calls);
    }

    [Fact]
    public void A_group_commit_that_throws_holds_up_nobody_after_it()
    {
        var fails = true;
        var commit = new GroupCommit(() => fails ? throw new IOException("gone") : true);

        Assert.Throws<IOException>(() => commit.Run());
        fails = false;
        Assert.True(commit.Run());
    }

    [Fact]
    public void A_segment_of_version_1_is_read_and_says_nothing_of_durability()
    {
        using var scratch = new ScratchDirectory();
        var header = new SegmentHeader(_volume, 1, 41, 2, 5, 3, default, Rewrites: false);
        var bytes = Segment(header, Slot(42, 0), Slot(43, 4096));
        bytes[4] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(508), Crc32C.Of(bytes.AsSpan(0, 508)));
        File.WriteAllBytes(scratch["00000001.seg"], bytes);

        Assert.Equal(header with { Version = 1 }, SegmentHeader.TryRead(bytes, out _));
        using (var reader = new JournalReader(scratch.Path, _volume))
            Assert.Equal([42, 43], Lsns(reader));
        using var writer = JournalWriter.Open(Options(scratch) with { Durability = JournalDurability.Process });
        Assert.Equal((43, 2), (writer.LastLsn, writer.LastFence));
    }

    // Method: LSNs 18 to 24 were written again in segment 2 because their sync had failed in segment 1, where the disk has
    // forgotten some of them; LSNs 8 to 17 were never given.
    [Fact]
    public void Records_that_were_written_again_are_read_where_they_are_whole()
    {
        using var scratch = new ScratchDirectory();
        File.WriteAllBytes(scratch["00000001.seg"], Segment(
            new(_volume, 1, 0, 0, 1, 1, default, Rewrites: false),
            [.. Enumerable.Range(1, 7).Select(n => Slot(n, n)), null, null, Slot(20, 20), Slot(24, 24)]));
        File.WriteAllBytes(scratch["00000002.seg"], Segment(
            new(_volume, 2, 17, 0, 1, 1, default, Rewrites: true),
            [.. Enumerable.Range(18, 7).Select(n => Slot(n, n))]));

        using var reader = new JournalReader(scratch.Path, _volume);

        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 18, 19, 20, 21, 22, 23, 24], Lsns(reader));
    }

    private static JournalOptions Options(ScratchDirectory scratch) =>
        new(scratch.Path, _volume, 1 << 20, MinLsn: 0, TimeProvider.System, SegmentBytes: 1 << 14)
        {
            Durability = JournalDurability.Power,
            VolumeBytes = 16 * Region,
            RegionBytes = Region,
            RegionsMax = 2,
            BootId = Boot,
        };

    private static WriteRequest Write(long offset) => new(WriteKind.Write, offset, 512);

    private static void Append(JournalWriter writer, JournalConnection connection, WriteRequest[] writes)
    {
        Assert.True(writer.Reserve(writes.Length, wait: false));
        Assert.True(writer.TryAppend(writes, connection, out _));
        writer.Complete(writes, connection, isProtected: true);
    }

    private static void Flush(JournalWriter writer)
    {
        Assert.True(writer.TryMakeDurable());
        Assert.True(writer.TryBeginFlush(out var lsn));
        writer.EndFlush(lsn);
    }

    private static long[] Regions(ScratchDirectory scratch)
    {
        var bytes = File.ReadAllBytes(scratch["activity"]);
        return [.. Enumerable.Range(0, 63).Select(i => BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(520 + 8 * i)))
            .Where(r => r > 0).Select(r => r - 1).Order()];
    }

    private static JournalSlot? Slot(long lsn, long offset) => new(SlotKind.Write, lsn, 1, offset, 512, 1);

    private static byte[] Segment(in SegmentHeader header, params JournalSlot?[] slots)
    {
        var bytes = new byte[1 << 14];
        header.Write(bytes);
        for (var i = 0; i < slots.Length; i++)
            slots[i]?.Write(bytes.AsSpan(SegmentHeader.Size + i * JournalSlot.Size), header.Salt);
        return bytes;
    }

    private static long[] Lsns(JournalReader reader)
    {
        var target = new SingleWrite[64];
        return [.. target.Take(reader.Read(0, target)).Select(w => w.Lsn)];
    }

    private sealed class ForgetfulData : IVolumeData
    {
        public bool Forgotten { get; init; }

        public bool IsShown { get; private set; }

        public bool HasForgotten() => Forgotten;

        public void ForgetUnwritten() => IsShown = true;
    }
}
