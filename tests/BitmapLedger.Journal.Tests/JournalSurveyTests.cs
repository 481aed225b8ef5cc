using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;
using CsCheck;

namespace BitmapLedger.Journal.Tests;

public sealed class JournalSurveyTests
{
    private const int SlotsPerSegment = 31;
    private const int SmallSegment = 512 + SlotsPerSegment * JournalSlot.Size;
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000002");

    // Method: write a journal of several segments, destroy random places of it (slots, headers, a whole segment), and
    // hold what the survey says against the list of what was written.
    [Fact]
    public void Whatever_is_destroyed_every_other_write_is_found_and_every_lost_one_lies_in_a_named_stretch()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            using var scratch = new ScratchDirectory();
            var random = new Random(seed);
            var count = random.Next(40, 150);
            Fill(scratch, count);
            // The last segment stays whole: what nothing follows is how a batch that was cut off looks. The first one
            // stays at least there: without it the journal looks as if it had been freed.
            var segments = Directory.GetFiles(scratch.Path, "*.seg").Order(StringComparer.Ordinal).Where(InUse).ToArray();
            for (var i = random.Next(1, 4); i > 0; i--)
                Destroy(segments, random.Next(segments.Length - 1), random);

            var found = new JournalSurvey(scratch.Path, _volume).Read().ToList();

            var whole = found.OfType<JournalStretch.Whole>().SelectMany(w => w.Writes.ToArray()).ToList();
            var damaged = found.OfType<JournalStretch.Damaged>().ToList();
            Assert.NotEmpty(damaged);
            Assert.All(whole, w => Assert.Equal((w.Lsn * 512, 512), (w.Offset, w.Length)));
            Assert.Equal(whole.Select(w => w.Lsn).Order().Distinct(), whole.Select(w => w.Lsn));
            for (var lsn = 1L; lsn <= count; lsn++)
                if (!whole.Exists(w => w.Lsn == lsn))
                    Assert.Contains(damaged, d => lsn > d.AfterLsn && lsn <= d.ToLsn);
        }, iter: 100);
    }

    [Fact]
    public void A_damaged_record_costs_one_LSN_and_names_its_file_and_byte()
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, 20);
        var path = Path.Combine(scratch.Path, SegmentHeader.FileName(1));
        var bytes = File.ReadAllBytes(path);
        var at = 512 + 10 * JournalSlot.Size; // slot 0 names the connection, so this is write 10
        bytes[at + 30] ^= 4;
        File.WriteAllBytes(path, bytes);

        var found = new JournalSurvey(scratch.Path, _volume).Read().ToList();

        Assert.Equal(3, found.Count);
        Assert.Equal(
            new JournalStretch.Damaged(path, at, 9, 10, "a damaged record stands before a good one"), found[1]);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8, 9], LsnsOf(found[0]));
        Assert.Equal(Enumerable.Range(11, 10).Select(i => (long)i), LsnsOf(found[2]));
    }

    [Fact]
    public void A_damaged_header_loses_no_write_since_the_records_vouch_for_themselves()
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, 60);
        var path = Path.Combine(scratch.Path, SegmentHeader.FileName(2));
        using (var file = File.OpenWrite(path))
            file.Write(new byte[] { 1, 2, 3, 4 });

        var found = new JournalSurvey(scratch.Path, _volume).Read().ToList();

        var damaged = Assert.Single(found.OfType<JournalStretch.Damaged>());
        Assert.Equal((path, 0, damaged.AfterLsn), (damaged.File, damaged.FromByte, damaged.ToLsn));
        Assert.Equal(
            Enumerable.Range(1, 60).Select(i => (long)i), found.OfType<JournalStretch.Whole>().SelectMany(LsnsOf));
    }

    [Fact]
    public void A_whole_journal_has_no_damage()
    {
        using var scratch = new ScratchDirectory();
        Fill(scratch, 100);

        var found = new JournalSurvey(scratch.Path, _volume).Read().ToList();

        Assert.Equal(Enumerable.Range(1, 100).Select(i => (long)i), found.SelectMany(LsnsOf));
    }

    private static IEnumerable<long> LsnsOf(JournalStretch stretch) =>
        ((JournalStretch.Whole)stretch).Writes.ToArray().Select(w => w.Lsn);

    private static bool InUse(string segment) => File.ReadAllBytes(segment).AsSpan().ContainsAnyExcept((byte)0);

    private static void Destroy(string[] segments, int index, Random random)
    {
        var segment = segments[index];
        if (index > 0 && random.Next(6) == 0)
        {
            File.Delete(segment);
            return;
        }

        if (!File.Exists(segment))
            return;
        var bytes = File.ReadAllBytes(segment);
        var from = random.Next(4) == 0 ? 0 : 512 + random.Next(SlotsPerSegment) * JournalSlot.Size;
        var length = random.Next(1, 4) * JournalSlot.Size;
        random.NextBytes(bytes.AsSpan(from, Math.Min(length, bytes.Length - from)));
        File.WriteAllBytes(segment, bytes);
    }

    private static void Fill(ScratchDirectory scratch, int count)
    {
        using var writer = JournalWriter.Open(
            new(scratch.Path, _volume, 1 << 20, MinLsn: 0, TimeProvider.System, SmallSegment));
        var connection = writer.Connect("survey");
        for (var lsn = 1; lsn <= count; lsn++)
        {
            Assert.True(writer.Reserve(1, wait: false));
            Assert.True(writer.TryAppend([new(WriteKind.Write, lsn * 512L, 512)], connection, out _));
        }
    }
}
