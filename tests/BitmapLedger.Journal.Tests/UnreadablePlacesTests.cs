using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>A place of a journal that the disk cannot read is damage that is named; a disk that reads nothing is none.</summary>
public sealed class UnreadablePlacesTests
{
    private const int Page = UnreadableDisk.Page;
    private const int SlotsPerSegment = 64;
    private const int SegmentBytes = Page + SlotsPerSegment * JournalSlot.Size;
    private const int Writes = 150;
    private const string Fault = "the disk cannot read it";
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000006");
    private readonly UnreadableDisk _disk = new();

    public static TheoryData<JournalDurability, int, int> Places()
    {
        // The header, the middle and the end of the oldest segment, of one between and of the last one in use.
        TheoryData<JournalDurability, int, int> places = [];
        foreach (var durability in Enum.GetValues<JournalDurability>())
            foreach (var segment in new[] { 1, 2, 3 })
                foreach (var page in new[] { 0, 1, 4, 8 })
                    places.Add(durability, segment, page);
        return places;
    }

    [Theory]
    [MemberData(nameof(Places))]
    public void A_page_that_cannot_be_read_is_named_and_what_is_readable_is_found(JournalDurability durability, int segment, int page)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability);
        var path = scratch[SegmentHeader.FileName(segment)];
        _disk.Spoil(path, page, pages: 1);

        AssertNamed(Assert.Throws<CorruptionException>(() => Open(scratch, durability)), path, page);
        AssertNamed(Assert.Single(JournalCheck.Walk(scratch.Path, _volume, _disk).Damage), path, page);
        var read = Read(scratch, out var seen);
        // Behind the end of the journal the reader has nothing to look for.
        if (seen is not null)
            AssertNamed(seen, path, page);
        Assert.Equal(Enumerable.Range(1, read.Count), read);

        var found = new JournalSurvey(scratch.Path, _volume, _disk).Read().ToList();
        var whole = found.OfType<JournalStretch.Whole>().SelectMany(w => w.Writes.ToArray()).Select(w => (int)w.Lsn).ToList();
        var gap = Assert.Single(found.OfType<JournalStretch.Damaged>());
        Assert.Equal((path, (long)page * Page, Fault), (gap.File, gap.FromByte, gap.Fault));
        Assert.InRange(Writes - whole.Count, 0, 8);
        Assert.Equal(
            Enumerable.Range(1, Writes).Except(whole),
            Enumerable.Range(1, Writes).Where(lsn => lsn > gap.AfterLsn && lsn <= (gap.ToLsn ?? Writes)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(12_345)]
    [InlineData(32_767)]
    public void A_page_that_cannot_be_read_costs_a_few_reads_more_and_not_one_for_each_page_of_its_segment(int page)
    {
        const int segmentPages = 32_768;
        using var scratch = new ScratchDirectory();
        Fill(scratch.Path, JournalDurability.Power, segmentPages * Page);
        var path = scratch[SegmentHeader.FileName(1)];
        _disk.Spoil(path, page, pages: 1);
        var before = _disk.Reads;

        var gap = Assert.Single(new JournalSurvey(scratch.Path, _volume, _disk).Read().OfType<JournalStretch.Damaged>());

        Assert.Equal((path, (long)page * Page), (gap.File, gap.FromByte));
        Assert.InRange(_disk.Reads - before, 2 * 15, 100);
    }

    [Fact]
    public void A_segment_of_which_nothing_can_be_read_is_a_gap_when_the_disk_reads_others()
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, JournalDurability.Power);
        var path = scratch[SegmentHeader.FileName(2)];
        _disk.Spoil(path, 0, SegmentBytes / Page);

        AssertNamed(Assert.Throws<CorruptionException>(() => Open(scratch, JournalDurability.Power)), path, 0);
        var found = new JournalSurvey(scratch.Path, _volume, _disk).Read().ToList();
        var gap = Assert.Single(found.OfType<JournalStretch.Damaged>());
        Assert.Equal(path, gap.File);
        Assert.Equal(
            Enumerable.Range(1, Writes).Select(l => (long)l).Where(l => l <= gap.AfterLsn || l > gap.ToLsn),
            found.OfType<JournalStretch.Whole>().SelectMany(w => w.Writes.ToArray()).Select(w => w.Lsn));
    }

    // What stood in the end of a journal was given, whether anybody can read it or not.
    [Theory]
    [InlineData(JournalDurability.Power)]
    [InlineData(JournalDurability.Process)]
    public void Behind_an_end_that_cannot_be_read_no_LSN_is_given_twice(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        var journal = scratch["journal"];
        Fill(journal, durability);
        _disk.Spoil(Path.Combine(journal, SegmentHeader.FileName(3)), fromPage: 2, pages: SegmentBytes / Page - 2);
        // As a kill leaves it: nothing says how far it went.
        WholeFileBytes.Change(Path.Combine(journal, "boot"), boot =>
        {
            boot[4] = 0;
            boot.AsSpan(88, sizeof(long)).Clear();
        });
        var gap = Assert.Single(new JournalSurvey(journal, _volume, _disk).Read().OfType<JournalStretch.Damaged>());
        Assert.Null(gap.ToLsn);
        Assert.True(gap.AfterLsn < Writes);

        JournalDirectories.SetAside(_disk, journal, _volume, gap.AfterLsn);

        using var writer = Open(journal, durability);
        Assert.True(writer.LastLsn >= Writes);
    }

    [Fact]
    public void A_disk_that_reads_nothing_is_no_damage_and_is_whole_again_when_it_reads()
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, JournalDurability.Power);
        _disk.IsDead = true;

        Assert.Throws<IOException>(() => Open(scratch, JournalDurability.Power));
        Assert.Throws<IOException>(() => Read(scratch, out _));
        Assert.Throws<IOException>(() => new JournalSurvey(scratch.Path, _volume, _disk).Read().ToList());
        Assert.Contains(scratch.Path, Assert.Single(JournalCheck.Walk(scratch.Path, _volume, _disk).Damage).Message, StringComparison.Ordinal);

        _disk.IsDead = false;
        Assert.Equal(Enumerable.Range(1, Writes), Read(scratch, out var seen));
        Assert.Null(seen);
        using var writer = Open(scratch, JournalDurability.Power);
        Assert.Equal(Writes, writer.LastLsn);
    }

    // A file system in memory has no disk that could fail; on any other one the page comes from the disk.
    [Fact]
    public void A_disk_that_gives_back_what_is_written_to_it_reads_and_keeps_nothing_of_that()
    {
        using var scratch = new ScratchDirectory();

        Assert.True(PosixDisk.Instance.CanRead(scratch.Path));
        Assert.False(PosixDisk.Instance.CanRead(scratch["nowhere"]));

        Assert.Empty(Directory.GetFileSystemEntries(scratch.Path));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_disk_that_takes_nothing_any_more_reads_all_the_same(bool isReadOnly)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        using var scratch = new ScratchDirectory();
        using var disk = new LoopDisk(scratch["image"], scratch["disk"], megabytes: 8);
        Assert.True(PosixDisk.Instance.CanRead(disk.Path));
        File.WriteAllBytes(disk["kept"], [.. Enumerable.Repeat((byte)7, 8192)]);
        FillToTheLast(disk);
        if (isReadOnly)
            Tool.Run("mount", "-o", "remount,ro", disk.Path).Expect();

        Assert.True(PosixDisk.Instance.CanRead(disk.Path));
    }

    // A link to itself cannot be opened; of twenty one is looked at before the file that can be read.
    [Fact]
    public void A_disk_that_takes_nothing_any_more_reads_although_some_of_its_files_cannot_be_opened()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        using var scratch = new ScratchDirectory();
        using var disk = new LoopDisk(scratch["image"], scratch["disk"], megabytes: 8);
        File.WriteAllBytes(disk["kept"], [.. Enumerable.Repeat((byte)7, 8192)]);
        for (var link = 0; link < 20; link++)
            _ = File.CreateSymbolicLink(disk[$"link{link}"], disk[$"link{link}"]);
        Tool.Run("mount", "-o", "remount,ro", disk.Path).Expect();

        Assert.True(PosixDisk.Instance.CanRead(disk.Path));

        Tool.Run("mount", "-o", "remount,rw", disk.Path).Expect();
        File.Delete(disk["kept"]);
        Tool.Run("mount", "-o", "remount,ro", disk.Path).Expect();
        Assert.False(PosixDisk.Instance.CanRead(disk.Path));
    }

    // Room that was set aside reads as zeroes without the disk.
    [Fact]
    public void A_disk_that_takes_nothing_and_holds_nothing_but_zeroes_is_not_known_to_read()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        using var scratch = new ScratchDirectory();
        using var disk = new LoopDisk(scratch["image"], scratch["disk"], megabytes: 8);
        FillToTheLast(disk);

        Assert.False(PosixDisk.Instance.CanRead(disk.Path));
    }

    private static void FillToTheLast(LoopDisk disk)
    {
        disk.Fill();
        // Appended block by block, so that not even a small file finds room.
        Tool.Run("dd", "if=/dev/zero", $"of={disk["last"]}", "bs=512", "oflag=append,sync", "conv=notrunc").Expect(1);
        Assert.Throws<IOException>(() => File.WriteAllBytes(disk["more"], new byte[4096]));
    }

    private static void AssertNamed(CorruptionException damage, string path, int page)
    {
        Assert.Equal((path, (long)page * Page), (damage.Place, damage.OffsetBytes));
        Assert.Contains(Fault, damage.Message, StringComparison.Ordinal);
    }

    /// <summary>Writes a journal that ends in its third segment, closed in order.</summary>
    private void Fill(ScratchDirectory scratch, JournalDurability durability) => Fill(scratch.Path, durability);

    private void Fill(string directory, JournalDurability durability, int segmentBytes = SegmentBytes)
    {
        using var writer = Open(directory, durability, segmentBytes);
        var connection = writer.Connect("c");
        for (var count = Writes; count > 0; count--)
        {
            Assert.True(writer.Reserve(1, wait: false));
            Assert.True(writer.TryAppend([new(WriteKind.Write, 4096, 512)], connection, out _));
            writer.Complete([], connection, isProtected: false);
        }

        Assert.True(writer.TryMakeDurable());
        Assert.True(writer.TryBeginFlush(out var lsn));
        writer.EndFlush(lsn);
        _ = writer.Tidy();
    }

    private List<int> Read(ScratchDirectory scratch, out CorruptionException? seen)
    {
        using var reader = new JournalReader(scratch.Path, _volume, _disk);
        List<int> read = [];
        var target = new SingleWrite[7];
        seen = null;
        try
        {
            for (int count; (count = reader.Read(read.LastOrDefault(), target)) > 0;)
                read.AddRange(target[..count].Select(w => (int)w.Lsn));
        }
        catch (CorruptionException damage)
        {
            seen = damage;
        }

        return read;
    }

    private JournalWriter Open(ScratchDirectory scratch, JournalDurability durability) => Open(scratch.Path, durability);

    private JournalWriter Open(string directory, JournalDurability durability, int segmentBytes = SegmentBytes) =>
        JournalWriter.Open(new(directory, _volume, 1 << 20, MinLsn: 0, TimeProvider.System, segmentBytes)
        {
            Durability = durability,
            VolumeBytes = 1 << 20,
            Disk = _disk,
        });
}
