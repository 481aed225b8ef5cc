using System.Buffers.Binary;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Testing;

namespace BitmapLedger.Journal.Tests;

/// <summary>The files beside the segments, damaged in every way: named, never guessed, and gone on behind.</summary>
/// <param name="journals">Journals to damage.</param>
public sealed class SmallFileTests(SmallFileTests.Journals journals) : IClassFixture<SmallFileTests.Journals>
{
    private const int Writes = 40;
    private const long VolumeBytes = 64 << 20;
    private static readonly Guid _volume = Guid.Parse("0190a000-0000-7000-8000-000000000007");

    private static readonly string[] _refused = ["boot", "ceiling", "recovered"];

    /// <summary>What takes the place of the bytes of a file.</summary>
    private static readonly Dictionary<string, Func<byte[], byte[]>> _damages = new()
    {
        ["bad magic"] = b => Flipped(b, 0),
        ["a flipped bit in the middle"] = b => Flipped(b, b.Length / 2),
        ["bad checksum"] = b => Flipped(b, b.Length - 1),
        ["zeroed"] = b => new byte[b.Length],
        ["half of it"] = b => b[..(b.Length / 2)],
        ["all but a sector"] = b => b[..Math.Max(0, b.Length - 512)],
        ["all but a byte"] = b => b[..^1],
        ["empty"] = _ => [],
        ["too long"] = b => [.. b, .. new byte[512]],
        ["far too long"] = b => [.. b, .. new byte[2 << 20]],
        ["of version 0"] = b => b,
    };

    public static TheoryData<JournalDurability, bool, string, string> Cases()
    {
        // Every damage once, and a few under the other states.
        string[] few = ["bad checksum", "zeroed", "empty"];
        TheoryData<JournalDurability, bool, string, string> cases = [];
        foreach (var durability in Enum.GetValues<JournalDurability>())
            foreach (var isClosed in new[] { true, false })
                foreach (var file in Files(durability))
                    foreach (var damage in durability == JournalDurability.Power && !isClosed ? _damages.Keys : few.AsEnumerable())
                        cases.Add(durability, isClosed, file, damage);
        return cases;
    }

    public static TheoryData<JournalDurability, string> EachFile()
    {
        TheoryData<JournalDurability, string> files = [];
        foreach (var durability in Enum.GetValues<JournalDurability>())
            foreach (var file in Files(durability).Append(SegmentHeader.FileName(1)))
                files.Add(durability, file);
        return files;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Damage_is_named_by_file_and_offset_and_the_journal_that_is_begun_in_its_place_tells_everything(
        JournalDurability durability, bool isClosed, string file, string damage)
    {
        using var scratch = new ScratchDirectory();
        var journal = journals.Copy(durability, isClosed, scratch["journal"]);
        var path = Path.Combine(journal, file);
        var whole = File.ReadAllBytes(path);
        File.WriteAllBytes(path, damage == "of version 0" ? OfVersion(file, whole, 0) : _damages[damage](whole));

        var named = JournalCheck.Walk(journal, _volume).Damage;
        // Of a note that was never synced a power loss leaves that.
        if (file == "flush" && damage is ("empty" or "all but a sector" or "zeroed"))
        {
            Assert.Empty(named);
            Assert.Equal(!isClosed, IsMoreTold(journal, durability));
            return;
        }

        var one = Assert.Single(named);
        Assert.Equal(path, one.Place);
        Assert.InRange(one.OffsetBytes, 0, Math.Max(whole.Length, 1 << 20));
        var found = new JournalSurvey(journal, _volume).Read().ToList();
        var gap = Assert.Single(found.OfType<JournalStretch.Damaged>());
        Assert.Equal((path, one.OffsetBytes, one.Fault, Writes, Writes), (gap.File, gap.FromByte, gap.Fault, gap.AfterLsn, gap.ToLsn));
        Assert.False(gap.HoldsRecords);
        Assert.Equal(Writes, found.OfType<JournalStretch.Whole>().Sum(w => w.Writes.Length));
        if (_refused.Contains(file))
            Assert.Equal(path, Assert.Throws<CorruptionException>(() => Open(journal, durability)).Place);
        else
            Assert.Equal(!isClosed || file == "activity", IsMoreTold(Journals.Copy(journal, scratch["copy"]), durability));

        JournalDirectories.SetAside(PosixDisk.Instance, journal, _volume, lastLsn: Writes);

        using var writer = Open(journal, durability, minLsn: Writes);
        Append(writer, writer.Connect("again"));
        if (file == "boot")
            Assert.True(IsAll(writer));
        Assert.Empty(JournalCheck.Walk(journal, _volume).Damage);
    }

    [Theory]
    [MemberData(nameof(EachFile))]
    public void A_file_of_a_later_version_is_refused_by_its_version_and_is_no_damage(JournalDurability durability, string file)
    {
        using var scratch = new ScratchDirectory();
        var journal = journals.Copy(durability, isClosed: false, scratch["journal"]);
        var path = Path.Combine(journal, file);
        File.WriteAllBytes(path, OfVersion(file, File.ReadAllBytes(path), 9));

        AssertNamed(() => Open(journal, durability).Dispose());
        AssertNamed(() => JournalCheck.Walk(journal, _volume));
        AssertNamed(() => Assert.Empty(new JournalSurvey(journal, _volume).Read()));
        if (!file.EndsWith(".seg", StringComparison.Ordinal))
            AssertNamed(() => JournalDirectories.SetAside(PosixDisk.Instance, journal, _volume, Writes));
        Assert.Equal([journal, journal + ".next"], Directory.GetDirectories(scratch.Path).Append(journal + ".next").Distinct().Order());

        void AssertNamed(Action act)
        {
            var refused = Assert.Throws<FormatVersionException>(act);
            Assert.Contains($"{path} is of version 9", refused.Message, StringComparison.Ordinal);
            Assert.Equal("unsupported", refused.Code);
        }
    }

    // After a power loss LSNs go on above the ceiling. Where nobody can read it they go on above whatever it may have been.
    [Theory]
    [InlineData(JournalDurability.Power)]
    [InlineData(JournalDurability.Process)]
    public void Behind_a_damaged_ceiling_no_LSN_is_given_twice_after_a_power_loss(JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        var journal = journals.Copy(durability, isClosed: false, scratch["journal"]);
        var ceiling = BinaryPrimitives.ReadInt64LittleEndian(File.ReadAllBytes(Path.Combine(journal, "ceiling")).AsSpan(8));
        File.WriteAllBytes(Path.Combine(journal, "ceiling"), []);

        JournalDirectories.SetAside(PosixDisk.Instance, journal, _volume, Writes);

        using var writer = Open(journal, durability, bootId: "another");
        Assert.True(writer.LastLsn > ceiling);
        Assert.True(IsAll(writer));
    }

    [Fact]
    public void A_place_that_the_disk_cannot_read_is_damage_like_any_other()
    {
        using var scratch = new ScratchDirectory();
        _ = journals.Copy(JournalDurability.Power, isClosed: true, scratch.Path);
        foreach (var file in Files(JournalDurability.Power))
        {
            var disk = new UnreadableDisk();
            disk.Spoil(scratch[file], fromPage: 0, pages: 1);

            var damage = Assert.Single(JournalCheck.Walk(scratch.Path, _volume, disk).Damage);
            Assert.Equal((scratch[file], 0, "the disk cannot read it"), (damage.Place, damage.OffsetBytes, damage.Fault));
            Assert.Equal(scratch[file], Assert.Single(new JournalSurvey(scratch.Path, _volume, disk).Read().OfType<JournalStretch.Damaged>()).File);
        }
    }

    [Fact]
    public void An_activity_log_of_version_1_is_read()
    {
        using var scratch = new ScratchDirectory();
        _ = journals.Copy(JournalDurability.Power, isClosed: false, scratch.Path);
        var bytes = File.ReadAllBytes(scratch["activity"]);
        bytes.AsSpan(40, sizeof(long)).Clear();
        File.WriteAllBytes(scratch["activity"], OfVersion("activity", bytes, 1));

        Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
        using var writer = Open(scratch.Path, JournalDurability.Power, bootId: "another");
        Assert.Equal([new Extent(0, 4096), new Extent(8 << 20, 8 << 20)], writer.Recovered);
    }

    // Method: the file as those versions wrote it: closed in order in this boot, and what they knew beside that.
    [Theory]
    [InlineData(1, 64)]
    [InlineData(2, 128)]
    [InlineData(3, 128)]
    public void A_boot_state_of_an_earlier_version_is_read(byte version, int length)
    {
        using var scratch = new ScratchDirectory();
        _ = journals.Copy(JournalDurability.Power, isClosed: true, scratch.Path);
        var bytes = File.ReadAllBytes(scratch["boot"])[..length];
        bytes[6] = version == 1 ? (byte)0 : version;
        bytes.AsSpan(version switch { 1 => 44, 2 => 88, _ => 112 }).Clear();
        WholeFileBytes.Seal(bytes);
        File.WriteAllBytes(scratch["boot"], bytes);

        using var writer = Open(scratch.Path, JournalDurability.Power);

        Assert.Equal(Writes, writer.LastLsn);
        Assert.Null(writer.Lost);
        Assert.Equal([new Extent(0, 4096)], writer.Recovered);
        Assert.Empty(writer.Losses);
    }

    [Fact]
    public void A_note_of_flushes_of_version_1_is_read()
    {
        using var scratch = new ScratchDirectory();
        _ = journals.Copy(JournalDurability.Power, isClosed: false, scratch.Path);
        File.WriteAllBytes(scratch["flush"], [.. "BMFL"u8, 1, 0, 0, 0]);

        Assert.Empty(JournalCheck.Walk(scratch.Path, _volume).Damage);
        Assert.False(IsMoreTold(scratch.Path, JournalDurability.Power));
    }

    [Fact]
    public void No_bit_of_a_note_of_flushes_turns_unseen()
    {
        using var scratch = new ScratchDirectory();
        _ = journals.Copy(JournalDurability.Power, isClosed: false, scratch.Path);
        // A flush had failed, and who was told was killed before it stood anywhere else.
        byte[] failed = [.. "BMFL"u8, 2, 2, 253, 253];
        for (var bit = 0; bit < 8 * failed.Length; bit++)
        {
            byte[] turned = [.. failed];
            turned[bit / 8] ^= (byte)(1 << (bit % 8));
            File.WriteAllBytes(scratch["flush"], turned);
            Assert.Equal(scratch["flush"], Assert.Single(JournalCheck.Walk(scratch.Path, _volume).Damage).Place);
        }
    }

    [Theory]
    [InlineData("a place that the disk cannot read")]
    [InlineData("far too long")]
    public void A_damaged_note_of_flushes_is_replaced_at_the_next_start(string damage)
    {
        using var scratch = new ScratchDirectory();
        var journal = journals.Copy(JournalDurability.Power, isClosed: false, scratch["journal"]);
        var disk = new UnreadableDisk();
        if (_damages.TryGetValue(damage, out var damaged))
            File.WriteAllBytes(Path.Combine(journal, "flush"), damaged(File.ReadAllBytes(Path.Combine(journal, "flush"))));
        else
            disk.Spoil(Path.Combine(journal, "flush"), fromPage: 0, pages: 1);
        Assert.Single(JournalCheck.Walk(journal, _volume, disk).Damage);

        Open(journal, JournalDurability.Power, disk: disk).Dispose();

        Assert.Empty(JournalCheck.Walk(journal, _volume, disk).Damage);
    }

    // Method: a machine goes down after a clean stop, and of the note, which is never synced, nothing is left; the next start is
    // killed after each of its changes, and so is every note of it.
    [Theory]
    [InlineData(JournalDurability.Power)]
    [InlineData(JournalDurability.Process)]
    public void A_start_that_is_killed_anywhere_tells_nothing_more_because_a_power_loss_has_emptied_the_note_before_it(
        JournalDurability durability)
    {
        using var scratch = new ScratchDirectory();
        var hasEnded = true;
        for (var changes = 0; hasEnded; changes++)
        {
            var journal = journals.Copy(durability, isClosed: true, scratch[$"{changes}"]);
            File.WriteAllBytes(Path.Combine(journal, "flush"), []);
            var disk = new EndingDisk(changes);
            if (Record.Exception(() => Open(journal, durability, bootId: "another", disk: disk).Dispose()) is { } killed)
                Assert.IsType<OperationCanceledException>(killed);
            hasEnded = disk.HasEnded;

            using var writer = Open(journal, durability, bootId: "another");
            Assert.Null(writer.Lost);
            Assert.Equal([new Extent(0, 4096)], writer.Recovered);
        }
    }

    private static IEnumerable<string> Files(JournalDurability durability) => durability == JournalDurability.Power
        ? ["boot", "ceiling", "recovered", "flush", "activity"]
        : ["boot", "ceiling", "recovered", "flush"];

    private static void Append(JournalWriter writer, JournalConnection connection)
    {
        WriteRequest[] writes = [new(WriteKind.Write, 9 << 20, 512)];
        Assert.True(writer.Reserve(1, wait: false));
        var isProtected = writer.TryProtect(writes);
        Assert.True(writer.TryAppend(writes, connection, out _));
        writer.Complete(writes, connection, isProtected);
    }

    /// <summary>Whether the journal opens and tells more than it had to tell anyway.</summary>
    private static bool IsMoreTold(string journal, JournalDurability durability)
    {
        using var writer = Open(journal, durability);
        return writer.Lost is not null || !writer.Recovered.SequenceEqual([new(0, 4096)]);
    }

    private static bool IsAll(JournalWriter writer) => writer.Lost is not null || writer.Recovered is [{ Offset: 0, Length: VolumeBytes }];

    private static byte[] Flipped(byte[] bytes, int at)
    {
        bytes = [.. bytes];
        bytes[at] ^= 4;
        return bytes;
    }

    /// <summary>A whole file of another version.</summary>
    private static byte[] OfVersion(string file, byte[] bytes, byte version)
    {
        bytes[file switch { "boot" => 6, "activity" => 8, _ => 4 }] = version;
        if (file == "activity")
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(bytes.AsSpan(4, 508)));
        else if (file.EndsWith(".seg", StringComparison.Ordinal))
            WholeFileBytes.Seal(bytes.AsSpan(0, SegmentHeader.Size));
        else if (file == "flush")
            bytes[7] = (byte)~version;
        else
            WholeFileBytes.Seal(bytes);
        return bytes;
    }

    private static JournalWriter Open(
        string journal, JournalDurability durability, string bootId = "this one", long minLsn = 0, IJournalDisk? disk = null) =>
        JournalWriter.Open(new(journal, _volume, 1 << 20, minLsn, TimeProvider.System, SegmentBytes: 8192)
        {
            Disk = disk ?? PosixDisk.Instance,
            PreparesAhead = disk is not EndingDisk,
            Durability = durability,
            VolumeBytes = VolumeBytes,
            BootId = bootId,
        });

    /// <summary>Journals as a stop and as a kill leave them, each written once.</summary>
    public sealed class Journals : IDisposable
    {
        private readonly ScratchDirectory _scratch = new();

        public void Dispose() => _scratch.Dispose();

        internal static string Copy(string from, string to)
        {
            _ = Directory.CreateDirectory(to);
            foreach (var file in Directory.GetFiles(from))
                File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
            return to;
        }

        internal string Copy(JournalDurability durability, bool isClosed, string to)
        {
            var from = _scratch[$"{durability}-{isClosed}"];
            if (!Directory.Exists(from))
                Fill(from, durability, isClosed);
            return Copy(from, to);
        }

        private static void Fill(string journal, JournalDurability durability, bool isClosed)
        {
            var writer = Open(journal, durability);
            var connection = writer.Connect("c");
            for (var count = Writes; count > 0; count--)
                Append(writer, connection);
            byte[] recovered = [.. "BMWR"u8, 1, 0, 0, 0, 1, 0, 0, 0, .. new byte[24]];
            BinaryPrimitives.WriteInt64LittleEndian(recovered.AsSpan(24), 4096);
            WholeFileBytes.Seal(recovered);
            File.WriteAllBytes(Path.Combine(journal, "recovered"), recovered);
            // As it lies while the journal is open: closing it writes `boot` alone.
            var boot = File.ReadAllBytes(Path.Combine(journal, "boot"));
            Assert.True(writer.TryMakeDurable());
            Assert.True(writer.TryBeginFlush(out var lsn));
            writer.EndFlush(lsn);
            writer.Dispose();
            if (!isClosed)
                File.WriteAllBytes(Path.Combine(journal, "boot"), boot);
        }
    }
}
