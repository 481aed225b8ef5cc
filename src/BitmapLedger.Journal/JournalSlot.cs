using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// One record of the journal: 64 bytes, eight to a sector, so that none ever crosses a 512-byte sector. Layout:
/// FORMAT.md.
/// </summary>
/// <param name="Kind">What it records.</param>
/// <param name="Lsn">Of a write its LSN; of a fence or a connection the last LSN before it.</param>
/// <param name="TimeMicroseconds">Microseconds since the Unix epoch.</param>
/// <param name="Offset">Of a write its first byte; of a fence its number; of marks the LSN up to which the data was
/// durable.</param>
/// <param name="Length">Of a write its bytes; of a connection the bytes of its name; of marks the LSN up to which the
/// journal was durable.</param>
/// <param name="Connection">Number of the connection.</param>
public readonly record struct JournalSlot(
    SlotKind Kind, long Lsn, long TimeMicroseconds, long Offset, long Length, int Connection)
{
    /// <summary>Bytes of a slot.</summary>
    public const int Size = 64;

    /// <summary>Longest name of a connection, in bytes of UTF-8; longer ones are cut.</summary>
    public const int NameBytesMax = Size - NameOffset;

    internal const int KindOffset = 4;
    private const int ConnectionOffset = 8;
    private const int LsnOffset = 12;
    private const int TimeOffset = 20;
    private const int OffsetOffset = 28;
    private const int LengthOffset = 36;
    private const int NameOffset = 28;

    /// <summary>True for the kinds that carry an LSN of their own.</summary>
    public bool IsWrite => Kind <= SlotKind.Trim;

    /// <summary>Writes the slot.</summary>
    /// <param name="target">At least <see cref="Size"/> bytes.</param>
    /// <param name="salt">Of the segment, so that a slot of another file never counts here.</param>
    /// <param name="name">Of a connection its name, at most <see cref="NameBytesMax"/> bytes.</param>
    public void Write(Span<byte> target, uint salt, ReadOnlySpan<byte> name = default)
    {
        var slot = target[..Size];
        slot[KindOffset..].Clear();
        slot[KindOffset] = (byte)Kind;
        slot[KindOffset + 1] = (byte)name.Length;
        BinaryPrimitives.WriteInt32LittleEndian(slot[ConnectionOffset..], Connection);
        BinaryPrimitives.WriteInt64LittleEndian(slot[LsnOffset..], Lsn);
        BinaryPrimitives.WriteInt64LittleEndian(slot[TimeOffset..], TimeMicroseconds);
        if (Kind == SlotKind.Connection)
        {
            name.CopyTo(slot[NameOffset..]);
        }
        else
        {
            BinaryPrimitives.WriteInt64LittleEndian(slot[OffsetOffset..], Offset);
            BinaryPrimitives.WriteInt64LittleEndian(slot[LengthOffset..], Length);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(slot, Crc32C.Of(slot[KindOffset..], salt));
    }

    /// <summary>Reads and verifies a slot; only with <see cref="SlotFault.None"/> is <paramref name="record"/> to be
    /// used.</summary>
    public static SlotFault TryRead(ReadOnlySpan<byte> source, uint salt, out JournalSlot record)
    {
        record = default;
        var slot = source[..Size];
        if (BinaryPrimitives.ReadUInt32LittleEndian(slot) != Crc32C.Of(slot[KindOffset..], salt))
            return slot.ContainsAnyExcept((byte)0) ? SlotFault.BadChecksum : SlotFault.Empty;

        var kind = (SlotKind)slot[KindOffset];
        var named = kind == SlotKind.Connection;
        record = new(
            kind,
            BinaryPrimitives.ReadInt64LittleEndian(slot[LsnOffset..]),
            BinaryPrimitives.ReadInt64LittleEndian(slot[TimeOffset..]),
            named ? 0 : BinaryPrimitives.ReadInt64LittleEndian(slot[OffsetOffset..]),
            named ? slot[KindOffset + 1] : BinaryPrimitives.ReadInt64LittleEndian(slot[LengthOffset..]),
            BinaryPrimitives.ReadInt32LittleEndian(slot[ConnectionOffset..]));
        return record.IsPossible ? SlotFault.None : SlotFault.BadValue;
    }

    /// <summary>The name in a connection's slot that <see cref="TryRead"/> accepted.</summary>
    public static ReadOnlySpan<byte> Name(ReadOnlySpan<byte> source, in JournalSlot record) =>
        source.Slice(NameOffset, (int)record.Length);

    private bool IsPossible => Lsn >= 0 && TimeMicroseconds >= 0 && Connection >= 0 && Kind switch
    {
        SlotKind.Write or SlotKind.WriteZeroes or SlotKind.Trim =>
            Lsn > 0 && Offset >= 0 && Length > 0 && Length <= long.MaxValue - Offset,
        SlotKind.Fence => Offset > 0,
        SlotKind.Connection => Length <= NameBytesMax,
        SlotKind.Marks => Offset >= 0 && Length >= 0,
        _ => false,
    };
}
