using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The first sector of a segment. It carries over what would be lost with the segments before it. Layout: FORMAT.md.
/// </summary>
/// <param name="VolumeId">Whose journal it is.</param>
/// <param name="Number">Number of the segment, 1, 2, 3 …</param>
/// <param name="LastLsn">LSN of the last write before this segment.</param>
/// <param name="LastFence">Number of the last fence before it.</param>
/// <param name="TimeMicroseconds">The latest time recorded before it.</param>
/// <param name="LastConnection">Greatest connection number given before it: numbers are not given twice.</param>
/// <param name="Marks">How far the journal and the data were durable when it was begun.</param>
/// <param name="Rewrites">True when it begins with records written again: those of earlier segments above
/// <paramref name="LastLsn"/> do not count.</param>
public readonly record struct SegmentHeader(
    Guid VolumeId, long Number, long LastLsn, long LastFence, long TimeMicroseconds, int LastConnection, DurableMarks Marks,
    bool Rewrites)
{
    /// <summary>Bytes of the header: one sector.</summary>
    public const int Size = 512;

    /// <summary>Where its number stands in it.</summary>
    public const int NumberOffset = 24;

    private const uint Magic = 0x4A4C_4D42; // "BMLJ" as it lies on disk
    private const byte CurrentVersion = 3;
    private const byte OldestVersion = 1;
    private const byte FirstWithStoredLsn = 3;
    private const int VersionOffset = 4;
    private const int ChecksumOffset = Size - sizeof(uint);

    /// <summary>Version of the format that it is written in.</summary>
    public byte Version { get; init; } = CurrentVersion;

    /// <summary>LSN up to which every write that is no void stands in the segments before this one. Those above it, up to
    /// <see cref="LastLsn"/>, may be missing there: the disk refused them, or what they tell was told as lost. 0 before
    /// version 3.</summary>
    public long StoredLsn { get; init; }

    /// <summary>What the journal had to outlive when this segment was begun; unknown, and <c>process</c>, before version
    /// 3.</summary>
    public JournalDurability Durability { get; init; }

    /// <summary>Whether slots are filled without a gap and what is missing is declared by headers behind: then an empty
    /// slot before a record has lost what stood there.</summary>
    public bool DeclaresVoids => Version >= FirstWithStoredLsn;

    /// <summary>What the checksums of this segment's slots are salted with.</summary>
    public uint Salt
    {
        get
        {
            Span<byte> identity = stackalloc byte[24];
            VolumeId.TryWriteBytes(identity);
            BinaryPrimitives.WriteInt64LittleEndian(identity[16..], Number);
            return Crc32C.Of(identity);
        }
    }

    /// <summary>Name of the segment's file in the journal's directory.</summary>
    public static string FileName(long number) => $"{number:D8}.seg";

    /// <summary>Writes the header into one sector.</summary>
    public void Write(Span<byte> target)
    {
        var sector = target[..Size];
        sector.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(sector, Magic);
        sector[VersionOffset] = CurrentVersion;
        sector[5] = Rewrites ? (byte)1 : (byte)0;
        sector[6] = Durability == JournalDurability.Power ? (byte)1 : (byte)0;
        VolumeId.TryWriteBytes(sector[8..]);
        BinaryPrimitives.WriteInt64LittleEndian(sector[NumberOffset..], Number);
        BinaryPrimitives.WriteInt64LittleEndian(sector[32..], LastLsn);
        BinaryPrimitives.WriteInt64LittleEndian(sector[40..], LastFence);
        BinaryPrimitives.WriteInt64LittleEndian(sector[48..], TimeMicroseconds);
        BinaryPrimitives.WriteInt32LittleEndian(sector[56..], LastConnection);
        BinaryPrimitives.WriteInt64LittleEndian(sector[64..], Marks.JournalLsn);
        BinaryPrimitives.WriteInt64LittleEndian(sector[72..], Marks.DataLsn);
        BinaryPrimitives.WriteInt64LittleEndian(sector[80..], StoredLsn);
        BinaryPrimitives.WriteUInt32LittleEndian(sector[ChecksumOffset..], Crc32C.Of(sector[..ChecksumOffset]));
    }

    /// <summary>Refuses a header that is whole and of a version that only a later program reads: magic, version and checksum stay
    /// where they are.</summary>
    /// <exception cref="FormatVersionException">It is.</exception>
    public static void RefuseLaterVersion(ReadOnlySpan<byte> source, string path)
    {
        if (source.Length >= Size && source[VersionOffset] > CurrentVersion && BinaryPrimitives.ReadUInt32LittleEndian(source) == Magic
            && BinaryPrimitives.ReadUInt32LittleEndian(source[ChecksumOffset..]) == Crc32C.Of(source[..ChecksumOffset]))
            throw new FormatVersionException(path, source[VersionOffset], CurrentVersion);
    }

    /// <summary>Reads and verifies a header; null when the sector holds none, and then <paramref name="fault"/> says
    /// why.</summary>
    public static SegmentHeader? TryRead(ReadOnlySpan<byte> source, out string fault)
    {
        fault = "";
        if (source.Length < Size)
            fault = "the segment is shorter than its header";
        else if (!source[..Size].ContainsAnyExcept((byte)0))
            fault = "the segment was prepared and never used";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(source) != Magic)
            fault = "this is no journal segment";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(source[ChecksumOffset..]) != Crc32C.Of(source[..ChecksumOffset]))
            fault = "the checksum of the segment's header does not match";
        else if (source[VersionOffset] is < OldestVersion or > CurrentVersion)
            fault = $"a journal of version {source[VersionOffset]}; this program reads versions {OldestVersion} to {CurrentVersion}";
        if (fault.Length > 0)
            return null;

        var header = new SegmentHeader(
            new Guid(source.Slice(8, 16)),
            BinaryPrimitives.ReadInt64LittleEndian(source[NumberOffset..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[40..]),
            BinaryPrimitives.ReadInt64LittleEndian(source[48..]),
            BinaryPrimitives.ReadInt32LittleEndian(source[56..]),
            // Version 1 left these bytes zero: it knew of nothing durable.
            new(BinaryPrimitives.ReadInt64LittleEndian(source[64..]), BinaryPrimitives.ReadInt64LittleEndian(source[72..])),
            source[5] != 0)
        {
            Version = source[VersionOffset],
            Durability = source[6] == 0 ? JournalDurability.Process : JournalDurability.Power,
            StoredLsn = BinaryPrimitives.ReadInt64LittleEndian(source[80..]),
        };
        if (header is
            {
                Number: > 0, LastLsn: >= 0, LastFence: >= 0, TimeMicroseconds: >= 0, LastConnection: >= 0,
                Marks: { JournalLsn: >= 0, DataLsn: >= 0 }, StoredLsn: >= 0,
            } && header.StoredLsn <= header.LastLsn)
            return header;
        fault = "a value of the segment's header cannot be";
        return null;
    }
}
