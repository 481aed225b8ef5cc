using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>A disk that lies: what was synced reads back as zeroes. Never taken for void, which is what was never there.</summary>
public sealed class LostRecordsTests
{
    private const int Sector = 512;
    private const int SlotsPerSegment = 64;
    private const int SegmentBytes = Sector + SlotsPerSegment * JournalSlot.Size;
    private const string RecordsGone = "records that were durable are gone";
    private const string HeaderGone = "the header of a segment in use is gone";
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000004");

    public static TheoryData<JournalDurability> Durabilities => [.. Enum.GetValues<JournalDurability>()];

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void A_zeroed_sector_in_the_middle_is_named_by_file_and_offset(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 150);
        var path = Zero(scratch, segment: 1, fromSector: 3, sectors: 1);

        AssertDamaged(scratch, durability, path, 3 * Sector, RecordsGone);
    }

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void A_zeroed_end_of_an_older_segment_is_named_by_file_and_offset(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 150);
        var path = Zero(scratch, segment: 1, fromSector: 6, sectors: 3);

        AssertDamaged(scratch, durability, path, 6 * Sector, RecordsGone);
    }

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void A_zeroed_header_is_named_by_file(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 150);
        var path = Zero(scratch, segment: 2, fromSector: 0, sectors: 1);

        AssertDamaged(scratch, durability, path, 0, HeaderGone);
    }

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void A_zeroed_header_of_the_oldest_segment_is_named_by_file(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 150);
        var path = Zero(scratch, segment: 1, fromSector: 0, sectors: 1);

        var damage = Assert.Throws<CorruptionException>(() => Open(scratch, durability));

        Assert.Equal((path, 0L), (damage.Place, damage.OffsetBytes));
        Assert.Equal(path, Assert.Single(JournalCheck.Walk(scratch.Path, _volume).Damage).Place);
        Assert.Contains(Damaged(scratch), d => d.File == path);
    }

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void The_zeroed_end_of_a_journal_that_was_closed_in_order_is_named_by_file_and_offset(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 20);
        var path = Zero(scratch, segment: 1, fromSector: 2, sectors: 7);

        var damage = Assert.Throws<CorruptionException>(() => Open(scratch, durability));

        Assert.Equal((path, 2L * Sector), (damage.Place, damage.OffsetBytes));
        Assert.Equal(2L * Sector, Assert.Single(JournalCheck.Walk(scratch.Path, _volume).Damage).OffsetBytes);
        Assert.Equal(20, Assert.Single(Damaged(scratch)).ToLsn);
    }

    // Method: LSNs are passed over in each way that there is: the ledger knows more than the journal, a segment is written on
    // after a restart, and records above the last durable one are gone with the power.
    [Theory]
    [MemberData(nameof(Durabilities))]
    public void LSNs_that_were_passed_over_are_no_damage(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, durability, count: 20);
        using (var writer = Open(scratch, durability, minLsn: 100))
            Append(writer, writer.Connect("c"), 20);
        using (var writer = Open(scratch, durability))
            Append(writer, writer.Connect("c"), 20);

        using (Open(scratch, durability))
        {
        }

        Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
        Assert.Empty(Damaged(scratch));
        Assert.Equal([.. Enumerable.Range(1, 20), .. Enumerable.Range(101, 40)], Read(scratch));
    }

    [Fact]
    public void Records_that_a_power_loss_took_are_void_ever_after()
    {
        using var scratch = new ScratchDirectory();
        using (var writer = Open(scratch, JournalDurability.Power))
        {
            var connection = writer.Connect("c");
            Append(writer, connection, 10);
            Flush(writer);
            Append(writer, connection, 30);
        }

        // As the machine would have left it: open, in another boot, and some of what was written behind the marks gone.
        GoDown(scratch);
        _ = Zero(scratch, segment: 1, fromSector: 4, sectors: 1);

        using (var writer = Open(scratch, JournalDurability.Power))
        {
            writer.AcknowledgeLoss();
            Append(writer, writer.Connect("d"), 100);
            Flush(writer);
        }

        using (Open(scratch, JournalDurability.Power))
        {
        }

        Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
        Assert.Empty(Damaged(scratch));
        var read = Read(scratch);
        Assert.Equal(10, read.Count(lsn => lsn <= 10));
        Assert.InRange(read.Count(lsn => lsn is > 10 and <= 40), 20, 29);
    }

    [Fact]
    public void A_hole_in_a_segment_of_version_2_is_void_unless_its_own_marks_call_it_durable()
    {
        foreach (var marked in new[] { 3, 8 })
        {
            using var scratch = new ScratchDirectory();
            var bytes = new byte[SegmentBytes];
            var header = new SegmentHeader(_volume, 1, 0, 0, 1, 1, default, Rewrites: false);
            header.Write(bytes);
            bytes[4] = 2;
            BitConverter.TryWriteBytes(bytes.AsSpan(508), Crc32C.Of(bytes.AsSpan(0, 508)));
            for (var lsn = 1; lsn <= 9; lsn++)
                if (lsn is not 5)
                    new JournalSlot(SlotKind.Write, lsn, 1, lsn, 512, 1)
                        .Write(bytes.AsSpan(SegmentHeader.Size + lsn * JournalSlot.Size), header.Salt);
            new JournalSlot(SlotKind.Connection, 0, 1, 0, 0, 1).Write(bytes.AsSpan(SegmentHeader.Size), header.Salt, "c"u8);
            new JournalSlot(SlotKind.Marks, 9, 1, 0, marked, 0)
                .Write(bytes.AsSpan(SegmentHeader.Size + 10 * JournalSlot.Size), header.Salt);
            File.WriteAllBytes(scratch[SegmentHeader.FileName(1)], bytes);

            if (marked == 8)
            {
                Assert.Equal(
                    SegmentHeader.Size + 5L * JournalSlot.Size,
                    Assert.Throws<CorruptionException>(() => Open(scratch, JournalDurability.Power)).OffsetBytes);
                Assert.Equal((4, 5), Assert.Single(Damaged(scratch)) is { } d ? (d.AfterLsn, d.ToLsn) : default);
                continue;
            }

            Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
            Assert.Empty(Damaged(scratch));
            using var writer = Open(scratch, JournalDurability.Power);
            Assert.Equal(9, writer.LastLsn);
        }
    }

    private static void AssertDamaged(ScratchDirectory scratch, JournalDurability durability, string path, long at, string fault)
    {
        var damage = Assert.Throws<CorruptionException>(() => Open(scratch, durability));
        Assert.Equal((path, at), (damage.Place, damage.OffsetBytes));
        Assert.Contains(fault, damage.Message, StringComparison.Ordinal);
        var seen = Assert.Throws<CorruptionException>(() => Read(scratch));
        Assert.StartsWith(scratch.Path, seen.Place, StringComparison.Ordinal);
        var check = Assert.Single(JournalCheck.Walk(scratch.Path, _volume).Damage);
        Assert.Equal((path, at), (check.Place, check.OffsetBytes));

        var survey = new JournalSurvey(scratch.Path, _volume).Read().ToList();
        var whole = survey.OfType<JournalStretch.Whole>().SelectMany(w => w.Writes.ToArray()).Select(w => w.Lsn).ToHashSet();
        var damaged = survey.OfType<JournalStretch.Damaged>().ToList();
        Assert.NotEmpty(damaged);
        for (var lsn = 1; lsn <= 150; lsn++)
            Assert.True(whole.Contains(lsn) || damaged.Exists(d => d.AfterLsn < lsn && lsn <= d.ToLsn), $"LSN {lsn}");
    }

    private static List<JournalStretch.Damaged> Damaged(ScratchDirectory scratch) =>
        [.. new JournalSurvey(scratch.Path, _volume).Read().OfType<JournalStretch.Damaged>()];

    private static List<int> Read(ScratchDirectory scratch)
    {
        using var reader = new JournalReader(scratch.Path, _volume);
        List<int> read = [];
        var target = new SingleWrite[7];
        for (int count; (count = reader.Read(read.LastOrDefault(), target)) > 0;)
            read.AddRange(target[..count].Select(w => (int)w.Lsn));
        return read;
    }

    private static string Zero(ScratchDirectory scratch, int segment, int fromSector, int sectors)
    {
        var path = scratch[SegmentHeader.FileName(segment)];
        using var file = File.OpenWrite(path);
        file.Position = fromSector * Sector;
        file.Write(new byte[sectors * Sector]);
        Assert.Equal(SegmentBytes, file.Length);
        return path;
    }

    /// <summary>Writes a journal of which every record is durable, and is known to be; closed in order.</summary>
    private static void Fill(ScratchDirectory scratch, JournalDurability durability, int count)
    {
        using var writer = Open(scratch, durability);
        var connection = writer.Connect("c");
        Append(writer, connection, count);
        Flush(writer);
        _ = writer.Tidy();
    }

    [Theory]
    [InlineData(JournalDurability.Power)]
    [InlineData(JournalDurability.Process)]
    public void The_first_and_the_last_loss_that_nobody_was_told_of_keep_their_places_before_the_writes_behind_them(
        JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        using (var writer = Open(scratch, durability))
            Append(writer, writer.Connect("c"), 10);
        List<LossPlace> places = [];
        for (var run = 0; run < 4; run++)
        {
            // The first and the third after a power loss, the others after a kill.
            if (run % 2 == 0)
                GoDown(scratch);
            else
                WholeFileBytes.Change(scratch["boot"], boot => boot[4] = 0);
            using var writer = Open(scratch, durability);
            Assert.InRange(writer.Losses.Count, 1, 2);
            places.AddRange(writer.Losses.Except(places));
            Assert.True(places[^1].Lsn <= writer.LastLsn);
            Append(writer, writer.Connect("d"), 5);
            Flush(writer);
        }

        using (var writer = Open(scratch, durability))
        {
            Assert.Equal(2, places.Count);
            Assert.Equal(places, writer.Losses);
            Assert.True(places[0].Lsn + 10 <= places[1].Lsn && places[1].Lsn + 10 <= writer.LastLsn, $"{string.Join(' ', places)} {writer.LastLsn}");
            Assert.True(places[0].TimeMicroseconds < places[1].TimeMicroseconds);
            writer.AcknowledgeLoss();
            Append(writer, writer.Connect("e"), 1);
        }

        GoDown(scratch);
        using (var writer = Open(scratch, durability))
            Assert.True(Assert.Single(writer.Losses).Lsn > places[1].Lsn);
    }

    private static void Append(JournalWriter writer, JournalConnection connection, int count)
    {
        for (; count > 0; count--)
        {
            Assert.True(writer.Reserve(1, wait: false));
            Assert.True(writer.TryAppend([new(WriteKind.Write, 4096, 512)], connection, out _));
            writer.Complete([], connection, isProtected: false);
        }
    }

    private static void Flush(JournalWriter writer)
    {
        Assert.True(writer.TryMakeDurable());
        Assert.True(writer.TryBeginFlush(out var lsn));
        writer.EndFlush(lsn);
    }

    private static void GoDown(ScratchDirectory scratch) => WholeFileBytes.Change(scratch["boot"], WholeFileBytes.GoDown);

    private static JournalWriter Open(ScratchDirectory scratch, JournalDurability durability, long minLsn = 0) =>
        JournalWriter.Open(new(scratch.Path, _volume, 1 << 20, minLsn, TimeProvider.System, SegmentBytes)
        {
            Durability = durability,
            VolumeBytes = 1 << 20,
        });
}
