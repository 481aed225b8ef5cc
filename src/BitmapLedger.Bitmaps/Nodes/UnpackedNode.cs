using System.Buffers;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Nodes;

/// <summary>
/// The blocks of a node in forms that are marked in a map at about a nanosecond a block, for nodes that are asked for again and
/// again: checked and decoded once, and where blocks lie at random no larger than as it is stored. Never changes. Any thread.
/// </summary>
public sealed class UnpackedNode
{
    private readonly Stretch[] _stretches;
    private readonly byte[] _bytes;
    private readonly long _blockCount;

    private UnpackedNode(NodeDirectory directory, Stretch[] stretches, byte[] bytes)
    {
        Granularity = directory.Granularity;
        VolumeBytes = directory.VolumeBytes;
        _blockCount = directory.BlockCount;
        _stretches = stretches;
        _bytes = bytes;
    }

    /// <summary>Bytes a block.</summary>
    public Granularity Granularity { get; }

    /// <summary>Size of the volume that the node was made for, in bytes.</summary>
    public long VolumeBytes { get; }

    /// <summary>Bytes of memory that it holds, but for a hundred or so.</summary>
    public long HeldBytes => _bytes.Length + (long)_stretches.Length * Stretch.Bytes;

    /// <summary>Checks and unpacks a node.</summary>
    /// <param name="node">All bytes of it, as <see cref="NodeCodec"/> writes them; they are not needed afterwards.</param>
    /// <param name="unpacked">Its blocks; null with a fault.</param>
    public static CodecFault TryUnpack(ReadOnlySpan<byte> node, out UnpackedNode? unpacked)
    {
        unpacked = null;
        var fault = NodeDirectory.TryRead(node, out var directory, out _);
        if (directory is null)
            return fault;
        if (node.Length != directory.TotalBytes)
            return CodecFault.Incomplete;
        var words = ArrayPool<ulong>.Shared.Rent(directory.ContainerWordsMax);
        var bytes = ArrayPool<byte>.Shared.Rent(BytesMax(directory));
        try
        {
            List<Stretch> stretches = new(directory.ContainerCount);
            var length = 0;
            for (var i = 0; i < directory.ContainerCount; i++)
            {
                fault = directory.TryReadContainer(i, node, words, out var first, out var blocks);
                if (fault != CodecFault.None)
                    return fault;
                Unpack(words.AsSpan(0, (blocks + 63) >> 6), first, stretches, bytes, ref length);
            }

            unpacked = new(directory, [.. stretches], bytes.AsSpan(0, length).ToArray());
            return CodecFault.None;
        }
        finally
        {
            ArrayPool<ulong>.Shared.Return(words);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    /// <summary>Marks in a map what the node holds, rounded outward where the map is coarser and clipped to its size. Nobody else
    /// may mark the map meanwhile.</summary>
    /// <param name="target">The map; not finer than the node.</param>
    /// <exception cref="ArgumentException">The map is finer than the node.</exception>
    public void Mark(NativeBitmap target)
    {
        NodeDirectory.RefuseFiner(target, Granularity);
        var words = ArrayPool<ulong>.Shared.Rent(UnpackedBlocks.WordsMax);
        try
        {
            foreach (var stretch in _stretches)
                Mark(stretch, target, words);
        }
        finally
        {
            ArrayPool<ulong>.Shared.Return(words);
        }
    }

    private void Mark(Stretch stretch, NativeBitmap target, ulong[] words)
    {
        var source = _bytes.AsSpan(stretch.Offset, stretch.Length);
        var blocks = (int)Math.Min(UnpackedBlocks.BlocksMax, _blockCount - stretch.First);
        if (target.Granularity == Granularity && stretch.First + blocks <= target.BlockCount)
        {
            UnpackedBlocks.Mark(source, stretch.Form, target.WordsAlone(stretch.First, blocks));
            target.Summarise(stretch.First, blocks);
            return;
        }

        var part = words.AsSpan(0, (blocks + 63) >> 6);
        part.Clear();
        UnpackedBlocks.Mark(source, stretch.Form, part);
        NodeDirectory.Mark(target, part, stretch.First, Granularity);
    }

    /// <summary>As many bytes as the stretches of a node may take. Two bytes stand for a block or the end of a run where the node has
    /// one at least; what is left over is for words that end behind the last block, and for runs that end with a stretch.</summary>
    private static int BytesMax(NodeDirectory directory) => (int)Math.Min(
        2 * directory.TotalBytes + 16L * directory.ContainerCount, (long)directory.ContainerCount * directory.ContainerWordsMax * sizeof(ulong));

    private static void Unpack(ReadOnlySpan<ulong> words, long first, List<Stretch> stretches, byte[] bytes, ref int length)
    {
        for (; !words.IsEmpty; first += UnpackedBlocks.BlocksMax)
        {
            var part = words[..Math.Min(words.Length, UnpackedBlocks.WordsMax)];
            words = words[part.Length..];
            if (!part.ContainsAnyExcept(0UL))
                continue;
            var form = UnpackedBlocks.Write(bytes.AsSpan(length), part, out var written);
            stretches.Add(new(first, length, (ushort)written, form));
            length += written;
        }
    }

    /// <summary>Where the blocks of a stretch stand.</summary>
    /// <param name="First">Its first block; a multiple of <see cref="UnpackedBlocks.BlocksMax"/>.</param>
    /// <param name="Offset">Its first byte.</param>
    /// <param name="Length">Its bytes.</param>
    /// <param name="Form">What they are.</param>
    private readonly record struct Stretch(long First, int Offset, ushort Length, UnpackedForm Form)
    {
        public const int Bytes = 16;
    }
}
