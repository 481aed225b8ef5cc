using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;
using CsCheck;

namespace BitmapLedger.Journal.Tests;

public sealed class JournalTests
{
    /// <summary>A header and 31 slots: rollovers happen all the time.</summary>
    private const int SmallSegment = 512 + 31 * JournalSlot.Size;

    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000001");

    // Method: batches of random length, fences, restarts and releases in between; a list is the model of what was
    // acknowledged.
    [Fact]
    public void What_is_appended_is_read_back_once_and_in_order_over_rollovers_and_restarts()
    {
        Gen.Int[0, int.MaxValue].Sample(seed =>
        {
            using var scratch = new ScratchDirectory();
            var random = new Random(seed);
            List<SingleWrite> model = [];
            var writer = Open(scratch);
            var connection = writer.Connect("unix:pid=1,uid=0");
            using var reader = new JournalReader(scratch.Path, _volume);
            var read = new List<SingleWrite>();
            for (var step = 0; step < 60; step++)
            {
                switch (random.Next(8))
                {
                    case 0:
                        Assert.Equal(model.Count, writer.AppendFence().Lsn);
                        break;
                    case 1:
                        writer.Dispose();
                        writer = Open(scratch);
                        Assert.Equal(model.Count, writer.LastLsn);
                        connection = writer.Connect("again");
                        break;
                    case 2:
                        read.AddRange(Read(reader, read.Count));
                        writer.Release(read.Count);
                        break;
                    default:
                        Append(writer, connection, random, model);
                        break;
                }
            }

            read.AddRange(Read(reader, read.Count));
            writer.Dispose();
            Assert.Equal(model, read.Select(w => w with { TimeMicroseconds = 0, Connection = 0 }));
            Assert.All(read, w => Assert.Contains(w.Connection, reader.Names.Keys));
            Assert.True(read.Zip(read.Skip(1)).All(p => p.First.TimeMicroseconds <= p.Second.TimeMicroseconds));
        }, iter: 60);
    }

    [Fact]
    public void Released_segments_go_and_what_counts_of_them_stays()
    {
        using var scratch = new ScratchDirectory();
        using (var writer = Open(scratch))
        {
            List<SingleWrite> model = [];
            var connection = writer.Connect("c");
            while (model.Count < 500)
                Append(writer, connection, new Random(1), model);
            writer.AppendFence();
            writer.Release(model.Count);

            Assert.InRange(writer.BytesOnDisk, 1, 2 * SmallSegment);
            Assert.True(writer.OldestLsn > 400);
        }

        using var again = Open(scratch);
        Assert.Equal((500, 1), (again.LastLsn / 500 * 500, again.LastFence));
    }

    [Fact]
    public void After_a_torn_tail_every_record_before_it_is_kept_and_the_journal_goes_on()
    {
        for (var torn = 1; torn < 40; torn += 6)
        {
            using var scratch = new ScratchDirectory();
            List<SingleWrite> model = [];
            using (var writer = Open(scratch))
                Append(writer, writer.Connect("c"), new Random(2), model, count: 5);
            var file = scratch["00000001.seg"];
            using (var stream = File.OpenWrite(file))
            {
                // The name and four records stay whole; the fifth is cut inside what it says (its last bytes are
                // always zero).
                stream.Position = SegmentHeader.Size + 5 * JournalSlot.Size + torn;
                stream.Write(new byte[JournalSlot.Size - torn]);
            }

            using (var writer = Open(scratch))
            {
                Assert.Equal(4, writer.LastLsn);
                model.RemoveAt(4);
                Append(writer, writer.Connect("d"), new Random(3), model, count: 3);
            }

            using var reader = new JournalReader(scratch.Path, _volume);
            Assert.Equal(model, Read(reader, 0).Select(w => w with { TimeMicroseconds = 0, Connection = 0 }));
        }
    }

    [Fact]
    public void Damage_before_a_good_record_is_named_by_file_and_offset()
    {
        using var scratch = new ScratchDirectory();
        using (var writer = Open(scratch))
            Append(writer, writer.Connect("c"), new Random(2), [], count: 9);
        var file = scratch["00000001.seg"];
        var bytes = File.ReadAllBytes(file);
        bytes[SegmentHeader.Size + 3 * JournalSlot.Size + 30] ^= 1;
        File.WriteAllBytes(file, bytes);

        var damage = Assert.Throws<CorruptionException>(() => Open(scratch));
        using var reader = new JournalReader(scratch.Path, _volume);
        var seen = Assert.Throws<CorruptionException>(() => Read(reader, 0));
        var check = JournalCheck.Walk(scratch.Path, _volume);

        Assert.Equal((file, SegmentHeader.Size + 3L * JournalSlot.Size), (damage.Place, damage.OffsetBytes));
        Assert.Equal(damage.OffsetBytes, seen.OffsetBytes);
        Assert.Equal(damage.OffsetBytes, Assert.Single(check.Damage).OffsetBytes);
    }

    [Fact]
    public void Every_flipped_bit_and_every_truncation_of_a_slot_and_of_a_header_is_a_fault()
    {
        var slot = new byte[JournalSlot.Size];
        new JournalSlot(SlotKind.Write, 42, 1_700_000_000_000_000, 4096, 512, 3).Write(slot, salt: 77);
        Assert.Equal(SlotFault.None, JournalSlot.TryRead(slot, 77, out var record));
        Assert.Equal((42L, 4096L, 512L, 3), (record.Lsn, record.Offset, record.Length, record.Connection));
        Assert.NotEqual(SlotFault.None, JournalSlot.TryRead(slot, 78, out _));
        EveryFlip(slot, b => Assert.NotEqual(SlotFault.None, JournalSlot.TryRead(b, 77, out _)));
        // The space of a record is there before it, as zeroes: that is what a cut leaves behind itself.
        for (var length = 0; slot.AsSpan(length).ContainsAnyExcept((byte)0); length++)
        {
            var cut = slot.ToArray();
            cut.AsSpan(length).Clear();
            Assert.NotEqual(SlotFault.None, JournalSlot.TryRead(cut, 77, out _));
        }

        var header = new byte[SegmentHeader.Size];
        var whole = new SegmentHeader(_volume, 3, 42, 7, 99, 5, new(40, 41), Rewrites: true);
        whole.Write(header);
        Assert.Equal(whole, SegmentHeader.TryRead(header, out _));
        // Bytes 5 to 7 are padding under the checksum like the rest.
        EveryFlip(header, b => Assert.Null(SegmentHeader.TryRead(b, out _)));
        for (var length = 0; length < header.Length; length++)
            Assert.Null(SegmentHeader.TryRead(header.AsSpan(0, length), out _));
    }

    [Fact]
    public void Times_never_go_back_and_advance_by_a_microsecond_while_the_clock_lags()
    {
        using var scratch = new ScratchDirectory();
        var clock = new ManualClock(DateTimeOffset.UnixEpoch.AddDays(20_000));
        using var writer = JournalWriter.Open(new(scratch.Path, _volume, 1 << 20, 0, clock, SmallSegment));
        var first = writer.AppendFence().TimeMicroseconds;

        clock.Now = clock.Now.AddHours(-1);

        Assert.Equal(first + 1, writer.AppendFence().TimeMicroseconds);
        Assert.Equal(first + 2, writer.AppendFence().TimeMicroseconds);
    }

    [Fact]
    public async Task A_full_quota_refuses_or_waits_and_a_release_lets_the_waiting_go_on()
    {
        using var scratch = new ScratchDirectory();
        using var writer = Open(scratch, quota: 2 * SmallSegment);
        List<SingleWrite> model = [];
        var connection = writer.Connect("c");
        while (writer.Reserve(5, wait: false))
            AppendReserved(writer, connection, new Random(4), model, 5);
        Assert.InRange(model.Count, 30, 62);

        var waiting = Task.Run(() => writer.Reserve(5, wait: true));
        Assert.False(waiting.IsCompleted);
        writer.Release(model.Count);

        Assert.True(await waiting.WaitAsync(TimeSpan.FromMinutes(1)));
    }

    // Method: the directory is moved away, so that the next segment cannot be made, as on a full disk, while the open one still can
    // be written.
    [Fact]
    public void Without_room_for_a_further_segment_writes_are_refused_and_go_on_when_there_is_room_again()
    {
        using var scratch = new ScratchDirectory();
        var directory = scratch["journal"];
        using var writer = JournalWriter.Open(new(directory, _volume, 1 << 20, 0, TimeProvider.System, SmallSegment));
        var connection = writer.Connect("c");
        // The first write also makes the ceiling of LSNs durable.
        Assert.True(Append());
        Directory.Move(directory, scratch["away"]);

        var accepted = 1;
        while (accepted < 1000 && Append())
            accepted++;
        Assert.InRange(accepted, 20, 100);
        Assert.Equal(accepted, writer.LastLsn);
        Directory.Move(scratch["away"], directory);

        Assert.True(Append());
        using var reader = new JournalReader(directory, _volume);
        Assert.Equal(accepted + 1, Read(reader, 0).Count);

        bool Append()
        {
            Assert.True(writer.Reserve(1, wait: false));
            return writer.TryAppend([new(WriteKind.Write, 0, 512)], connection, out _);
        }
    }

    [Fact]
    public void Lsns_go_on_above_what_the_ledger_has_even_if_the_journal_was_lost()
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(
            new(scratch.Path, _volume, 1 << 20, MinLsn: 1234, TimeProvider.System, SmallSegment));
        writer.Reserve(1, wait: false);

        Assert.True(writer.TryAppend([new(WriteKind.Write, 0, 512)], writer.Connect("c"), out var lsn));

        Assert.Equal(1235, lsn);
    }

    [Fact]
    public void A_machine_that_went_down_in_between_is_told_until_the_loss_is_acknowledged()
    {
        using var scratch = new ScratchDirectory();
        File.Delete(scratch["boot"]);
        using (var writer = Open(scratch))
            Assert.Null(writer.Lost);
        WholeFileBytes.Change(scratch["boot"], WholeFileBytes.GoDown);

        using (var writer = Open(scratch))
            Assert.NotNull(writer.Lost);
        using (var writer = Open(scratch))
        {
            Assert.NotNull(writer.Lost);
            writer.AcknowledgeLoss();
        }

        using var well = Open(scratch);
        Assert.Null(well.Lost);
    }

    [Fact]
    public void Appending_allocates_nothing()
    {
        using var scratch = new ScratchDirectory();
        using var writer = JournalWriter.Open(new(scratch.Path, _volume, 1L << 30, 0, TimeProvider.System));
        var connection = writer.Connect("c");
        var batch = new WriteRequest[32];
        Array.Fill(batch, new WriteRequest(WriteKind.Write, 4096, 4096));
        Append();
        var before = GC.GetAllocatedBytesForCurrentThread();

        for (var i = 0; i < 100; i++)
            Append();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Append()
        {
            writer.Reserve(batch.Length, wait: false);
            writer.TryAppend(batch, connection, out _);
        }
    }

    private static void EveryFlip(byte[] bytes, Action<byte[]> check)
    {
        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            check(bytes);
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
        }
    }

    private static JournalWriter Open(ScratchDirectory scratch, long quota = 1 << 20) =>
        JournalWriter.Open(new(scratch.Path, _volume, quota, MinLsn: 0, TimeProvider.System, SmallSegment));

    private static void Append(
        JournalWriter writer, JournalConnection connection, Random random, List<SingleWrite> model, int? count = null)
    {
        var writes = count ?? random.Next(1, 50);
        Assert.True(writer.Reserve(writes, wait: false));
        AppendReserved(writer, connection, random, model, writes);
    }

    private static void AppendReserved(
        JournalWriter writer, JournalConnection connection, Random random, List<SingleWrite> model, int writes)
    {
        var batch = Enumerable.Range(0, writes)
            .Select(_ => new WriteRequest(
                (WriteKind)random.Next(1, 4), random.NextInt64(1L << 40), random.NextInt64(1, 1 << 20))).ToArray();
        Assert.True(writer.TryAppend(batch, connection, out var first));
        model.AddRange(batch.Select((b, i) => new SingleWrite(first + i, 0, b.Kind, b.Offset, b.Length, 0)));
    }

    private static List<SingleWrite> Read(JournalReader reader, long after)
    {
        List<SingleWrite> read = [];
        var target = new SingleWrite[17];
        for (int count; (count = reader.Read(after + read.Count, target)) > 0;)
            read.AddRange(target[..count]);
        return read;
    }
}
