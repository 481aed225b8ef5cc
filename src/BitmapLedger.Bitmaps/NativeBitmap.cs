using System.Numerics;

namespace BitmapLedger.Bitmaps;

/// <summary>
/// One bit per block of a volume, with summaries above: a bit of level n+1 says that a word of level n has a bit
/// set, so
/// that searching, counting and merging cost what is set, not what is there (the idea of QEMU's <c>hbitmap</c>).
/// </summary>
/// <remarks>
/// <para><b>Units.</b> Each <c>offset</c> and <c>length</c> is in bytes of the volume; each <c>block</c> is an index in
/// units of <see cref="Granularity"/>. Marks are rounded outward: a byte of a block makes the block dirty.</para>
/// <para><b>Memory.</b> Reserved, not used: pages appear as bits are set. 64 TiB at 512 B reserves 16.3 GiB of
/// addresses
/// and none of memory.</para>
/// <para><b>Threads.</b> Marking may run on any number of threads, also beside readers. A mark that has returned is
/// seen
/// by every later reader: summaries are set before the leaf, so a set leaf is always reachable. <see cref="Clear"/> and
/// <see cref="Dispose"/> want the map to themselves.</para>
/// </remarks>
public sealed unsafe partial class NativeBitmap : IDisposable
{
    /// <summary>64 TiB at 512 B.</summary>
    public const long BlocksMax = 1L << 37;

    private const int WordShift = 6;
    private const int LevelsMax = 8;
    private const int DigestChunkWords = 8192;

    private readonly LazyMemory _memory;
    private readonly Levels _levels;
    private readonly int _levelCount;

    /// <summary>An empty map.</summary>
    /// <param name="volumeBytes">Size of the volume, 0 or more.</param>
    /// <param name="granularity">Bytes a bit.</param>
    /// <exception cref="BitmapTooLargeException">More than <see cref="BlocksMax"/> blocks.</exception>
    public NativeBitmap(long volumeBytes, Granularity granularity)
        : this(volumeBytes, granularity, isForAnAnswer: false)
    {
    }

    private NativeBitmap(long volumeBytes, Granularity granularity, bool isForAnAnswer)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(volumeBytes);
        VolumeBytes = volumeBytes;
        Granularity = granularity;
        BlockCount = granularity.BlockCount(volumeBytes);
        if (BlockCount > BlocksMax)
            throw new BitmapTooLargeException(volumeBytes, granularity);

        Span<long> wordCounts = stackalloc long[LevelsMax];
        var bits = Math.Max(1, BlockCount);
        var total = 0L;
        do
        {
            bits = (bits + 63) >> WordShift;
            wordCounts[_levelCount++] = bits;
            total += bits;
        }
        while (bits > 1);

        _memory = new LazyMemory(total * sizeof(ulong), isForAnAnswer);
        var next = (ulong*)_memory.Address;
        for (var level = 0; level < _levelCount; level++)
        {
            _levels[level] = new Level { Words = next, Count = wordCounts[level] };
            next += wordCounts[level];
        }
    }

    /// <summary>
    /// An empty map for one answer: its memory is that of answers before, and is handed on when it is disposed. Not for maps that
    /// writers mark: one that came too late would mark another answer, and not end the process.
    /// </summary>
    /// <param name="volumeBytes">Size of the volume, 0 or more.</param>
    /// <param name="granularity">Bytes a bit.</param>
    /// <exception cref="BitmapTooLargeException">More than <see cref="BlocksMax"/> blocks.</exception>
    public static NativeBitmap ForAnAnswer(long volumeBytes, Granularity granularity) => new(volumeBytes, granularity, isForAnAnswer: true);

    /// <summary>Bytes a bit.</summary>
    public Granularity Granularity { get; }

    /// <summary>Size of the volume in bytes.</summary>
    public long VolumeBytes { get; }

    /// <summary>Blocks of the volume; a partial last one counts.</summary>
    public long BlockCount { get; }

    /// <summary>Dirty bytes in whole granules, as QEMU's <c>count</c>.</summary>
    public long DirtyBytes => CountDirty() << Granularity.Shift;

    /// <summary>The maximal dirty runs, ascending; no allocation.</summary>
    public RunEnumerable Runs => new(this);

    /// <summary>Marks each block that the bytes touch, also in part. Allocates nothing.</summary>
    /// <param name="offsetBytes">First byte.</param>
    /// <param name="lengthBytes">Bytes; 0 marks nothing.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not inside the volume.</exception>
    public void MarkDirty(long offsetBytes, long lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offsetBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(lengthBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(lengthBytes, VolumeBytes - offsetBytes);
        if (lengthBytes > 0)
            Mark(offsetBytes >> Granularity.Shift, (offsetBytes + lengthBytes - 1) >> Granularity.Shift);
    }

    /// <summary>Marks a run of blocks.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not inside the map.</exception>
    public void MarkBlocks(BlockRun run)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(run.First, nameof(run));
        ArgumentOutOfRangeException.ThrowIfNegative(run.Count, nameof(run));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(run.Count, BlockCount - run.First, nameof(run));
        if (run.Count > 0)
            Mark(run.First, run.End - 1);
    }

    /// <summary>Marks every block.</summary>
    public void MarkAll() => MarkBlocks(new(0, BlockCount));

    /// <summary>Whether a block is dirty.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not inside the map.</exception>
    public bool IsDirty(long block)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)block, (ulong)BlockCount, nameof(block));
        return (Volatile.Read(ref Word(0, block >> WordShift)) >> (int)(block & 63) & 1) != 0;
    }

    /// <summary>Number of dirty blocks; a snapshot only while nobody marks.</summary>
    public long CountDirty()
    {
        var count = 0L;
        for (var bit = FindSet(0); bit >= 0; bit = FindSet(((bit >> WordShift) + 1) << WordShift))
            count += BitOperations.PopCount(Word(0, bit >> WordShift));
        return count;
    }

    /// <summary>Cleans every block and gives the memory back. Nobody may use the map meanwhile.</summary>
    public void Clear() => _memory.Zero();

    /// <summary>Marks what is dirty in <paramref name="other"/>, rounded outward where granularities differ. Nobody may
    /// mark this map meanwhile.</summary>
    /// <exception cref="ArgumentException">The volumes differ in size.</exception>
    public void UnionWith(NativeBitmap other)
    {
        RefuseOtherSize(other);
        if (other.Granularity == Granularity)
        {
            UnionSameShape(other);
            return;
        }

        foreach (var run in other.Runs)
        {
            var offset = run.First << other.Granularity.Shift;
            MarkDirty(offset, Math.Min(run.Count << other.Granularity.Shift, VolumeBytes - offset));
        }
    }

    /// <summary>Marks what is dirty in <paramref name="other"/> after it went through a coarser bitmap, as a merge into that
    /// one and from there into this would.</summary>
    /// <param name="other">A map of a volume of the same size.</param>
    /// <param name="through">The coarsest granularity on the way; one that is finer than both changes nothing.</param>
    /// <exception cref="ArgumentException">The volumes differ in size.</exception>
    public void UnionWith(NativeBitmap other, Granularity through)
    {
        if (through.Bytes <= other.Granularity.Bytes)
        {
            UnionWith(other);
            return;
        }

        RefuseOtherSize(other);
        var mask = through.Bytes - 1;
        foreach (var run in other.Runs)
        {
            var offset = (run.First << other.Granularity.Shift) & ~mask;
            var end = ((run.End << other.Granularity.Shift) + mask) & ~mask;
            MarkDirty(offset, Math.Min(end, VolumeBytes) - offset);
        }
    }

    /// <summary>The same bits for a volume of another size, as QEMU's <c>hbitmap_truncate</c>: blocks behind the end go, the
    /// one with the end in it stays as it is, new ones are clean.</summary>
    /// <param name="volumeBytes">Size of the volume in bytes.</param>
    /// <returns>A map of its own.</returns>
    /// <exception cref="BitmapTooLargeException">More than <see cref="BlocksMax"/> blocks.</exception>
    public NativeBitmap Resized(long volumeBytes)
    {
        NativeBitmap resized = new(volumeBytes, Granularity);
        foreach (var run in Runs)
        {
            if (run.First >= resized.BlockCount)
                break;
            resized.MarkBlocks(run with { Count = Math.Min(run.Count, resized.BlockCount - run.First) });
        }

        return resized;
    }

    /// <summary>The next dirty run at or after a block; a run that covers <paramref name="fromBlock"/> starts
    /// there.</summary>
    /// <returns>False when everything from there on is clean.</returns>
    public bool TryFindRun(long fromBlock, out BlockRun run)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(fromBlock);
        var first = fromBlock < BlockCount ? FindSet(fromBlock) : -1;
        run = first < 0 ? default : new(first, FindClean(first) - first);
        return first >= 0;
    }

    /// <summary>The dirty bytes, ascending, merged, clipped to the volume.</summary>
    public IEnumerable<Extent> Extents()
    {
        for (var from = 0L; TryFindRun(from, out var run); from = run.End)
        {
            var offset = run.First << Granularity.Shift;
            yield return new(offset, Math.Min(run.Count << Granularity.Shift, VolumeBytes - offset));
        }
    }

    /// <summary>Digest as QEMU's <c>x-debug-block-dirty-bitmap-sha256</c>: SHA-256 of the little-endian words,
    /// lower-case hex.</summary>
    public string Sha256() => BitmapSha256.Of(new ReadOnlyWords(this), DigestChunkWords);

    /// <summary>Gives the memory back.</summary>
    public void Dispose() => _memory.Dispose();

    private void RefuseOtherSize(NativeBitmap other)
    {
        if (other.VolumeBytes != VolumeBytes)
            throw new ArgumentException(
                $"A map of {other.VolumeBytes} bytes does not fit one of {VolumeBytes} bytes.", nameof(other));
    }

    private ref ulong Word(int level, long index)
    {
        ObjectDisposedException.ThrowIf(_memory.IsDisposed, this);
        return ref _levels[level].Words[index];
    }

    private void Mark(long first, long last)
    {
        // Most writes hit blocks that are dirty already; plain reads keep the line shared between cores.
        if (first >> WordShift == last >> WordShift)
        {
            var mask = Mask(first, last, first >> WordShift);
            if ((Volatile.Read(ref Word(0, first >> WordShift)) & mask) == mask)
                return;
        }

        for (var level = _levelCount - 1; level >= 0; level--)
            SetRange(level, first >> (WordShift * level), last >> (WordShift * level));
    }

    private void SetRange(int level, long first, long last)
    {
        for (var index = first >> WordShift; index <= last >> WordShift; index++)
        {
            var mask = Mask(first, last, index);
            ref var word = ref Word(level, index);
            if ((Volatile.Read(ref word) & mask) != mask)
                Interlocked.Or(ref word, mask);
        }
    }

    /// <summary>The bits of word <paramref name="index"/> that lie in [first, last].</summary>
    private static ulong Mask(long first, long last, long index)
    {
        var mask = ulong.MaxValue;
        if (index == first >> WordShift)
            mask &= ulong.MaxValue << (int)(first & 63);
        if (index == last >> WordShift)
            mask &= ulong.MaxValue >> (int)(63 - (last & 63));
        return mask;
    }

    /// <summary>
    /// Climbs while nothing is set to the right, descends where something is. A summary bit over a word that is still
    /// empty (its mark is under way) only costs a look.
    /// </summary>
    private long FindSet(long bit)
    {
        for (var level = 0; level < _levelCount;)
        {
            var index = bit >> WordShift;
            var masked = index < _levels[level].Count
                ? Volatile.Read(ref Word(level, index)) & ulong.MaxValue << (int)(bit & 63)
                : 0;
            if (masked == 0)
            {
                bit = index + 1;
                level++;
                continue;
            }

            bit = (index << WordShift) + BitOperations.TrailingZeroCount(masked);
            if (level-- == 0)
                return bit;
            bit <<= WordShift;
        }

        return -1;
    }

    private long FindClean(long bit)
    {
        for (var index = bit >> WordShift; index < _levels[0].Count; index++, bit = index << WordShift)
        {
            var clean = ~Volatile.Read(ref Word(0, index)) & ulong.MaxValue << (int)(bit & 63);
            if (clean != 0)
                return Math.Min(BlockCount, (index << WordShift) + BitOperations.TrailingZeroCount(clean));
        }

        return BlockCount;
    }

    /// <summary>Enumerates the dirty runs of a map without allocating.</summary>
    public readonly struct RunEnumerable(NativeBitmap map)
    {
        /// <summary>Starts at the first block.</summary>
        public RunEnumerator GetEnumerator() => new(map);
    }

    /// <summary>Position in the dirty runs of a map.</summary>
    public struct RunEnumerator(NativeBitmap map)
    {
        private BlockRun _current;

        /// <summary>The run found last.</summary>
        public readonly BlockRun Current => _current;

        /// <summary>Finds the next run.</summary>
        public bool MoveNext() => map.TryFindRun(_current.End, out _current);
    }

    /// <summary>The leaf words as the digest reads them: untouched pages stay untouched.</summary>
    internal readonly struct ReadOnlyWords(NativeBitmap map)
    {
        public long Count => map._levels[0].Count;

        public bool IsClean(long firstWord, int count)
        {
            var bit = map.FindSet(firstWord << WordShift);
            return bit < 0 || bit >> WordShift >= firstWord + count;
        }

        public ReadOnlySpan<byte> Bytes(long firstWord, int count) =>
            new(map._levels[0].Words + firstWord, count * sizeof(ulong));
    }

    private struct Level
    {
        public ulong* Words;
        public long Count;
    }

    [System.Runtime.CompilerServices.InlineArray(LevelsMax)]
    private struct Levels
    {
        private Level _first;
    }
}
