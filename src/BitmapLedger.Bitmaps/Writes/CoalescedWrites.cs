using System.Buffers.Binary;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Writes;

/// <summary>
/// What is left of single writes whose history was coalesced: which they were, how many, and the blocks that they touched;
/// or no blocks, when nothing that is kept needs them. An instance is whole and checked. Layout: FORMAT.md.
/// </summary>
public sealed class CoalescedWrites
{
    private const uint Magic = 0x434C_4D42; // "BMLC" as it is stored
    private const byte Version = 1;
    private const int FixedBytes = 4 + 1 + 7 * sizeof(long);
    private const int ChecksumBytes = 4;

    private readonly ReadOnlyMemory<byte> _blocks;

    private CoalescedWrites(ReadOnlyMemory<byte> bytes, CoalescedSpan span)
    {
        Bytes = bytes;
        Span = span;
        _blocks = bytes[FixedBytes..^ChecksumBytes];
    }

    /// <summary>The bytes as they are stored.</summary>
    public ReadOnlyMemory<byte> Bytes { get; }

    /// <summary>Which writes they were.</summary>
    public CoalescedSpan Span { get; }

    /// <summary>Whether their blocks are forgotten.</summary>
    public bool IsGone => _blocks.IsEmpty;

    /// <summary>Bytes a block; of no meaning when they are forgotten.</summary>
    public Granularity Granularity => IsGone ? Granularity.Finest : BitmapCodec.Shape(_blocks.Span).Granularity;

    /// <summary>Size of the volume meanwhile, in bytes; 0 when the blocks are forgotten.</summary>
    public long VolumeBytes => IsGone ? 0 : BitmapCodec.Shape(_blocks.Span).VolumeBytes;

    /// <summary>The bytes of coalesced writes.</summary>
    /// <param name="span">Which they were.</param>
    /// <param name="blocks">The blocks that they touched; null to forget them.</param>
    public static byte[] Encode(CoalescedSpan span, NativeBitmap? blocks)
    {
        var encoded = blocks is null ? [] : BitmapCodec.Encode(blocks);
        var target = new ByteWriter(FixedBytes + encoded.Length + ChecksumBytes);
        target.UInt32(Magic);
        target.Byte(Version);
        foreach (var value in (ReadOnlySpan<long>)[
            span.FirstEvent, span.FirstLsn, span.LastLsn, span.FirstTimeMicroseconds, span.LastTimeMicroseconds, span.Count, span.TotalBytes])
            target.Int64(value);
        target.Bytes(encoded);
        return target.CloseWithChecksum();
    }

    /// <summary>Reads and verifies coalesced writes.</summary>
    /// <param name="source">The bytes; kept, not copied.</param>
    /// <param name="coalesced">The writes, or null with a fault.</param>
    public static CodecFault TryRead(ReadOnlyMemory<byte> source, out CoalescedWrites? coalesced)
    {
        coalesced = null;
        var bytes = source.Span;
        if (bytes.Length < FixedBytes + ChecksumBytes)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic)
            return CodecFault.BadMagic;
        if (bytes[4] != Version)
            return CodecFault.UnknownVersion;
        var body = bytes[..^ChecksumBytes];
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[body.Length..]) != Crc32C.Of(body))
            return CodecFault.BadChecksum;
        var span = new CoalescedSpan(Long(body, 0), Long(body, 1), Long(body, 2), Long(body, 3), Long(body, 4), Long(body, 5), Long(body, 6));
        if (!span.IsPossible)
            return CodecFault.BadValue;
        if (body.Length > FixedBytes)
        {
            var fault = BitmapCodec.TryRead(body[FixedBytes..], out var blocks);
            blocks?.Dispose();
            if (fault != CodecFault.None)
                return fault;
        }

        coalesced = new(source, span);
        return CodecFault.None;
    }

    /// <summary>So many bytes at the beginning say the first event and the first LSN.</summary>
    public const int PrefixBytes = 4 + 1 + 2 * sizeof(long);

    /// <summary>Reads the first event and the first LSN from the beginning. The checksum is not looked at: good for finding
    /// coalesced writes, which are then read whole.</summary>
    /// <param name="prefix">The first bytes, <see cref="PrefixBytes"/> or more.</param>
    /// <param name="firstEvent">Number of the first event that the writes stood in; 0 with a fault.</param>
    /// <param name="firstLsn">First LSN; 0 with a fault.</param>
    public static CodecFault TryPeek(ReadOnlySpan<byte> prefix, out long firstEvent, out long firstLsn)
    {
        (firstEvent, firstLsn) = (0, 0);
        if (prefix.Length < PrefixBytes)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(prefix) != Magic)
            return CodecFault.BadMagic;
        if (prefix[4] != Version)
            return CodecFault.UnknownVersion;
        (firstEvent, firstLsn) = (Long(prefix, 0), Long(prefix, 1));
        return CodecFault.None;
    }

    /// <summary>Marks the blocks, rounded outward and clipped to the map; all of it when they are forgotten.</summary>
    public void Mark(NativeBitmap map)
    {
        if (IsGone)
        {
            map.MarkAll();
            return;
        }

        using var blocks = Blocks();
        if (blocks.VolumeBytes == map.VolumeBytes)
        {
            map.UnionWith(blocks);
            return;
        }

        foreach (var extent in blocks.Extents())
            if (extent.Offset < map.VolumeBytes)
                map.MarkDirty(extent.Offset, Math.Min(extent.Length, map.VolumeBytes - extent.Offset));
    }

    /// <summary>Whether any of the blocks lies between two bytes; true when they are forgotten.</summary>
    /// <param name="offsetBytes">First byte.</param>
    /// <param name="endBytes">The byte behind the last; above the first.</param>
    public bool Touches(long offsetBytes, long endBytes)
    {
        if (IsGone)
            return true;
        using var blocks = Blocks();
        return blocks.TryFindRun(Math.Min(offsetBytes >> Granularity.Shift, blocks.BlockCount), out var run)
            && run.First << Granularity.Shift < endBytes;
    }

    private NativeBitmap Blocks()
    {
        _ = BitmapCodec.TryRead(_blocks.Span, out var blocks);
        return blocks!;
    }

    private static long Long(ReadOnlySpan<byte> body, int index) =>
        BinaryPrimitives.ReadInt64LittleEndian(body[(5 + index * sizeof(long))..]);
}
