using System.Buffers;
using System.Buffers.Binary;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Nodes;

/// <summary>Where in a node some blocks stand.</summary>
/// <param name="OffsetBytes">First byte, from the start of the node.</param>
/// <param name="LengthBytes">Bytes; 0 when the directory alone answers.</param>
/// <param name="FirstEntry">First entry of the directory.</param>
/// <param name="EntryCount">Entries; 0 when none of the blocks can be set.</param>
public readonly record struct NodeSlice(long OffsetBytes, long LengthBytes, int FirstEntry, int EntryCount);

/// <summary>
/// What the head of a node says: its shape, and where each container is. Read from the first bytes of a node, so that
/// only the containers of the blocks that are asked for need be fetched. An instance is checked and never changes.
/// </summary>
public sealed class NodeDirectory
{
    /// <summary>So many bytes hold the head of nearly every node.</summary>
    public const int HeadBytesGood = 1920;

    private readonly Entry[] _entries;
    private readonly int _containerShift;

    private NodeDirectory(Granularity granularity, long volumeBytes, int containerShift, int headBytes, Entry[] entries)
    {
        Granularity = granularity;
        VolumeBytes = volumeBytes;
        BlockCount = granularity.BlockCount(volumeBytes);
        HeadBytes = headBytes;
        _containerShift = containerShift;
        _entries = entries;
        TotalBytes = entries.Length == 0 ? headBytes : entries[^1].End;
    }

    /// <summary>Bytes a block.</summary>
    public Granularity Granularity { get; }

    /// <summary>Size of the volume that the node was made for, in bytes.</summary>
    public long VolumeBytes { get; }

    /// <summary>Blocks of that volume.</summary>
    public long BlockCount { get; }

    /// <summary>Bytes of the head; the containers follow.</summary>
    public int HeadBytes { get; }

    /// <summary>Bytes of the whole node.</summary>
    public long TotalBytes { get; }

    /// <summary>Containers that it has.</summary>
    internal int ContainerCount => _entries.Length;

    /// <summary>Most words of a container.</summary>
    internal int ContainerWordsMax => 1 << (_containerShift - 6);

    /// <summary>Reads the head of a node.</summary>
    /// <param name="source">The first bytes of a node, or all.</param>
    /// <param name="directory">What it says; null with a fault.</param>
    /// <param name="bytesNeeded">With <see cref="CodecFault.Incomplete"/>: so many bytes hold the head.</param>
    public static CodecFault TryRead(ReadOnlySpan<byte> source, out NodeDirectory? directory, out int bytesNeeded)
    {
        directory = null;
        bytesNeeded = NodeCodec.FixedBytes + NodeCodec.ChecksumBytes;
        if (source.Length < bytesNeeded)
            return CodecFault.Incomplete;
        if (BinaryPrimitives.ReadUInt32LittleEndian(source) != NodeCodec.Magic)
            return CodecFault.BadMagic;
        if (source[4] != NodeCodec.Version)
            return CodecFault.UnknownVersion;
        int shift = source[5], containerShift = source[6];
        var volumeBytes = BinaryPrimitives.ReadInt64LittleEndian(source[8..]);
        var directoryBytes = BinaryPrimitives.ReadUInt32LittleEndian(source[16..]);
        var count = BinaryPrimitives.ReadUInt32LittleEndian(source[20..]);
        if (shift is < Granularity.ShiftMin or > Granularity.ShiftMax || source[7] != 0 || volumeBytes < 0
            || containerShift is < NodeCodec.ContainerShiftMin or > NodeCodec.ContainerShiftMax
            || Granularity.FromShift(shift).BlockCount(volumeBytes) > NodeCodec.BlocksMax
            // Three bytes are the least that an entry takes.
            || count > directoryBytes / 3 || directoryBytes > int.MaxValue / 2)
            return CodecFault.BadValue;
        bytesNeeded += (int)directoryBytes;
        if (source.Length < bytesNeeded)
            return CodecFault.Incomplete;
        var head = source[..(bytesNeeded - NodeCodec.ChecksumBytes)];
        if (BinaryPrimitives.ReadUInt32LittleEndian(source[head.Length..]) != Crc32C.Of(head))
            return CodecFault.BadChecksum;
        var granularity = Granularity.FromShift(shift);
        if (TryReadEntries(
            head[NodeCodec.FixedBytes..], (int)count, granularity.BlockCount(volumeBytes), containerShift, bytesNeeded) is not { } entries)
            return CodecFault.BadValue;
        directory = new(granularity, volumeBytes, containerShift, bytesNeeded, entries);
        return CodecFault.None;
    }

    /// <summary>Where the blocks of a stretch of bytes of the volume stand.</summary>
    /// <param name="offsetBytes">First byte of the volume, 0 or more.</param>
    /// <param name="endBytes">The byte behind the last.</param>
    public NodeSlice Find(long offsetBytes, long endBytes)
    {
        var firstBlock = offsetBytes >> Granularity.Shift;
        var lastBlock = Math.Min(BlockCount, Granularity.BlockCount(endBytes)) - 1;
        if (lastBlock < firstBlock)
            return default;
        var from = Search((int)(firstBlock >> _containerShift));
        var to = Search((int)(lastBlock >> _containerShift) + 1);
        return from == to
            ? default
            : new(_entries[from].Offset, _entries[to - 1].End - _entries[from].Offset, from, to - from);
    }

    /// <summary>Whether a node touches any block of a stretch of bytes of the volume.</summary>
    /// <param name="slice">Where they stand, from <see cref="Find"/>.</param>
    /// <param name="bytes">The bytes of the node that it names.</param>
    /// <param name="offsetBytes">First byte of the volume.</param>
    /// <param name="endBytes">The byte behind the last.</param>
    /// <param name="touches">The answer; false with a fault.</param>
    public CodecFault TryTouches(
        NodeSlice slice, ReadOnlySpan<byte> bytes, long offsetBytes, long endBytes, out bool touches)
    {
        touches = false;
        if (bytes.Length != slice.LengthBytes)
            return CodecFault.Incomplete;
        var words = ArrayPool<ulong>.Shared.Rent(ContainerWordsMax);
        try
        {
            foreach (var entry in _entries.AsSpan(slice.FirstEntry, slice.EntryCount))
            {
                var payload = bytes.Slice((int)(entry.Offset - slice.OffsetBytes), entry.Length);
                var fault = TryReadContainer(entry, payload, words, out var first, out var blocks);
                if (fault != CodecFault.None)
                    return fault;
                var from = Math.Max(0, (offsetBytes >> Granularity.Shift) - first);
                var end = Math.Min(blocks, Granularity.BlockCount(endBytes) - first);
                if (from < end && BitmapContainer.TryFindRun(words.AsSpan(0, (blocks + 63) >> 6), (int)from, out var found, out _)
                    && found < end)
                {
                    touches = true;
                    return CodecFault.None;
                }
            }

            return CodecFault.None;
        }
        finally
        {
            ArrayPool<ulong>.Shared.Return(words);
        }
    }

    /// <summary>Marks in a map what the containers hold: see <see cref="NodeCodec.TryUnion"/>.</summary>
    internal CodecFault TryUnion(ReadOnlySpan<byte> payloads, NativeBitmap target)
    {
        RefuseFiner(target, Granularity);
        var words = ArrayPool<ulong>.Shared.Rent(ContainerWordsMax);
        try
        {
            foreach (var entry in _entries)
            {
                var fault = TryUnion(entry, payloads.Slice((int)entry.Offset - HeadBytes, entry.Length), target, words);
                if (fault != CodecFault.None)
                    return fault;
            }

            return CodecFault.None;
        }
        finally
        {
            ArrayPool<ulong>.Shared.Return(words);
        }
    }

    /// <summary>Reads the blocks of a container.</summary>
    /// <param name="index">Which, counted from 0.</param>
    /// <param name="node">All bytes of the node.</param>
    /// <param name="words">Takes them; at least <see cref="ContainerWordsMax"/>.</param>
    /// <param name="first">The first block.</param>
    /// <param name="blocks">How many there are.</param>
    internal CodecFault TryReadContainer(int index, ReadOnlySpan<byte> node, ulong[] words, out long first, out int blocks)
    {
        var entry = _entries[index];
        return TryReadContainer(entry, node.Slice((int)entry.Offset, entry.Length), words, out first, out blocks);
    }

    /// <summary>Marks blocks, rounded outward and clipped to the map.</summary>
    /// <param name="target">The map.</param>
    /// <param name="words">The blocks.</param>
    /// <param name="first">The first.</param>
    /// <param name="granularity">Bytes of a block.</param>
    internal static void Mark(NativeBitmap target, ReadOnlySpan<ulong> words, long first, Granularity granularity)
    {
        var shift = granularity.Shift;
        for (var from = 0; BitmapContainer.TryFindRun(words, from, out var start, out var end); from = end)
        {
            var offset = (first + start) << shift;
            if (offset >= target.VolumeBytes)
                return;
            target.MarkDirty(offset, Math.Min(target.VolumeBytes - offset, (long)(end - start) << shift));
        }
    }

    internal static void RefuseFiner(NativeBitmap target, Granularity granularity)
    {
        if (target.Granularity < granularity)
            throw new ArgumentException(
                $"A map of {target.Granularity.Bytes} bytes a block cannot take a node of {granularity.Bytes}.", nameof(target));
    }

    private CodecFault TryUnion(Entry entry, ReadOnlySpan<byte> payload, NativeBitmap target, ulong[] words)
    {
        var (first, blocks) = BlocksOf(entry);
        if (target.Granularity == Granularity && first + blocks <= target.BlockCount)
        {
            var marked = TryMarkContainer(entry, payload, target.WordsAlone(first, blocks), blocks);
            target.Summarise(first, blocks);
            return marked;
        }

        var fault = TryReadContainer(entry, payload, words, out _, out _);
        if (fault == CodecFault.None)
            Mark(target, words.AsSpan(0, (blocks + 63) >> 6), first, Granularity);
        return fault;
    }

    private CodecFault TryReadContainer(
        Entry entry, ReadOnlySpan<byte> payload, ulong[] words, out long first, out int blocks)
    {
        (first, blocks) = BlocksOf(entry);
        var target = words.AsSpan(0, (blocks + 63) >> 6);
        target.Clear();
        return TryMarkContainer(entry, payload, target, blocks);
    }

    private (long First, int Count) BlocksOf(Entry entry)
    {
        var first = (long)entry.Container << _containerShift;
        return (first, (int)Math.Min(1L << _containerShift, BlockCount - first));
    }

    private static CodecFault TryMarkContainer(Entry entry, ReadOnlySpan<byte> payload, Span<ulong> words, int blocks)
    {
        if (entry.Form != BitmapForm.Full)
        {
            var bits = payload[..^NodeCodec.ChecksumBytes];
            if (BinaryPrimitives.ReadUInt32LittleEndian(payload[bits.Length..]) != Crc32C.Of(bits, (uint)entry.Container))
                return CodecFault.BadChecksum;
            payload = bits;
        }

        return BitmapContainer.TryRead(payload, entry.Form, words, blocks) ? CodecFault.None : CodecFault.BadValue;
    }

    /// <summary>The first entry of a container at or after one.</summary>
    private int Search(int container)
    {
        int low = 0, high = _entries.Length;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_entries[middle].Container < container)
                low = middle + 1;
            else
                high = middle;
        }

        return low;
    }

    private static Entry[]? TryReadEntries(
        ReadOnlySpan<byte> source, int count, long blocks, int containerShift, int headBytes)
    {
        var containers = (blocks + (1L << containerShift) - 1) >> containerShift;
        var entries = new Entry[count];
        var container = -1L;
        long offset = headBytes;
        var position = 0;
        for (var i = 0; i < count; i++)
        {
            if (!Varint.TryRead(source, ref position, out var gap) || gap >= (ulong)(containers - container - 1)
                || position >= source.Length)
                return null;
            container += 1 + (long)gap;
            var form = (BitmapForm)source[position++];
            if (form is < BitmapForm.Full or > BitmapForm.Raw || !Varint.TryRead(source, ref position, out var length)
                || length > (ulong)(1 << (containerShift - 3)) || (length == 0) != (form == BitmapForm.Full))
                return null;
            var bytes = form == BitmapForm.Full ? 0 : (int)length + NodeCodec.ChecksumBytes;
            entries[i] = new((int)container, form, offset, bytes);
            offset += bytes;
        }

        return position == source.Length && offset <= int.MaxValue ? entries : null;
    }

    private readonly record struct Entry(int Container, BitmapForm Form, long Offset, int Length)
    {
        public long End => Offset + Length;
    }
}
