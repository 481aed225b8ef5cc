using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace BitmapLedger.Bitmaps;

/// <summary>Whole words at a time, for merges and codecs.</summary>
public sealed unsafe partial class NativeBitmap
{
    private const int WordsPerSummary = 64;

    internal bool IsDisposed => _memory.IsDisposed;

    /// <summary>The words of the blocks from <paramref name="firstBlock"/> on, 64 blocks each, least significant first.</summary>
    /// <param name="firstBlock">A multiple of 64.</param>
    /// <param name="blockCount">Blocks that are inside the map.</param>
    internal ReadOnlySpan<ulong> Words(long firstBlock, int blockCount)
    {
        ObjectDisposedException.ThrowIf(_memory.IsDisposed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, BlockCount - firstBlock);
        return new(_levels[0].Words + (firstBlock >> WordShift), (blockCount + 63) >> WordShift);
    }

    /// <summary>
    /// Marks the blocks whose bits are set. Nobody may mark this map meanwhile. Stretches that are clean in
    /// <paramref name="words"/> are not written to, so that untouched pages stay untouched.
    /// </summary>
    /// <param name="firstBlock">Block of the first bit; a multiple of 4,096.</param>
    /// <param name="words">Bits behind the end of the map are zero.</param>
    internal void UnionWords(long firstBlock, ReadOnlySpan<ulong> words)
    {
        ObjectDisposedException.ThrowIf(_memory.IsDisposed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(words.Length, _levels[0].Count - (firstBlock >> WordShift));
        fixed (ulong* source = words)
            UnionWords(firstBlock >> WordShift, source, words.Length);
    }

    /// <summary>The words of some blocks for whoever marks them at once and says so then to <see cref="Summarise(long, int)"/>.
    /// Nobody else may mark this map meanwhile.</summary>
    /// <param name="firstBlock">A multiple of 4,096.</param>
    /// <param name="blockCount">Blocks that are inside the map.</param>
    internal Span<ulong> WordsAlone(long firstBlock, int blockCount)
    {
        ObjectDisposedException.ThrowIf(_memory.IsDisposed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blockCount, BlockCount - firstBlock);
        return new(_levels[0].Words + (firstBlock >> WordShift), (blockCount + 63) >> WordShift);
    }

    /// <summary>Takes what was marked in <see cref="WordsAlone"/> into the summaries.</summary>
    internal void Summarise(long firstBlock, int blockCount)
    {
        if (_levelCount == 1)
            return;
        var (firstWord, count) = (firstBlock >> WordShift, (blockCount + 63) >> WordShift);
        for (var from = 0; from < count; from += WordsPerSummary)
        {
            var set = SetWords(_levels[0].Words + firstWord + from, Math.Min(WordsPerSummary, count - from));
            if (set != 0)
                Summarise((firstWord + from) >> WordShift, set);
        }
    }

    /// <summary>Marks blocks of the map that are known to be in it. Nobody else may mark this map meanwhile.</summary>
    internal void MarkAlone(long firstBlock, long lastBlock)
    {
        var words = _levels[0].Words;
        for (var index = firstBlock >> WordShift; index <= lastBlock >> WordShift; index++)
        {
            var before = words[index];
            words[index] = before | Mask(firstBlock, lastBlock, index);
            if (before == 0 && _levelCount > 1)
                Summarise(index >> WordShift, 1UL << (int)(index & 63));
        }
    }

    /// <summary>The blocks that are dirty here and not in another map.</summary>
    /// <param name="other">A map of the same granularity; behind its end nothing is dirty.</param>
    /// <returns>A map of its own, as large as this one.</returns>
    /// <exception cref="ArgumentException">The granularities differ.</exception>
    public NativeBitmap Without(NativeBitmap other)
    {
        if (other.Granularity != Granularity)
            throw new ArgumentException(
                $"A map of {other.Granularity.Bytes} bytes a block cannot be taken from one of {Granularity.Bytes}.", nameof(other));
        NativeBitmap rest = new(VolumeBytes, Granularity);
        for (var bit = FindSet(0); bit >= 0; bit = FindSet(((bit >> WordShift) + 1) << WordShift))
        {
            var index = bit >> WordShift;
            var word = Word(0, index) & ~(index < other._levels[0].Count ? other.Word(0, index) : 0);
            if (word == 0)
                continue;
            rest._levels[0].Words[index] = word;
            if (_levelCount > 1)
                rest.Summarise(index >> WordShift, 1UL << (int)(index & 63));
        }

        return rest;
    }

    /// <summary>Marks what stretches touch, clipped to the map. Nobody else may mark this map meanwhile.</summary>
    /// <param name="starts">First unit of each.</param>
    /// <param name="lengths">Units of each, at least one; the end in bytes fits a long.</param>
    /// <param name="unitShift">Bytes of a unit, as a power of two.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal void MarkAlone(ReadOnlySpan<long> starts, ReadOnlySpan<ulong> lengths, int unitShift)
    {
        var words = _levels[0].Words;
        var (shift, lastBlock) = (Granularity.Shift, BlockCount - 1);
        for (var i = 0; i < starts.Length && i < lengths.Length; i++)
        {
            var first = starts[i] << unitShift >> shift;
            var last = Math.Min(lastBlock, ((starts[i] + (long)lengths[i] << unitShift) - 1) >> shift);
            var index = first >> WordShift;
            if (first > last)
                continue;
            if (index != last >> WordShift)
            {
                MarkAlone(first, last);
                continue;
            }

            var before = words[index];
            words[index] = before | (ulong.MaxValue << (int)(first & 63) & ulong.MaxValue >> (int)(63 - (last & 63)));
            if (before == 0 && _levelCount > 1)
                Summarise(index >> WordShift, 1UL << (int)(index & 63));
        }
    }

    private void UnionSameShape(NativeBitmap other)
    {
        ObjectDisposedException.ThrowIf(_memory.IsDisposed || other._memory.IsDisposed, this);
        if (_levelCount == 1)
        {
            UnionWords(0, other._levels[0].Words, (int)other._levels[0].Count);
            return;
        }

        // A summary word of the other map says which of 64 words hold anything: clean stretches are not even read.
        for (var summary = 0L; summary < other._levels[1].Count; summary++)
        {
            if (Volatile.Read(ref other.Word(1, summary)) == 0)
            {
                // Leaps where the level above says that nothing comes.
                var next = other.FindSet(summary << (2 * WordShift));
                if (next < 0)
                    return;
                summary = next >> (2 * WordShift);
            }

            var first = summary * WordsPerSummary;
            UnionWords(first, other._levels[0].Words + first, (int)Math.Min(WordsPerSummary, _levels[0].Count - first));
        }
    }

    private void UnionWords(long firstWord, ulong* source, int count)
    {
        for (var from = 0; from < count; from += WordsPerSummary)
        {
            var length = Math.Min(WordsPerSummary, count - from);
            var set = Or(_levels[0].Words + firstWord + from, source + from, length);
            if (set != 0 && _levelCount > 1)
                Summarise((firstWord + from) >> WordShift, set);
        }
    }

    /// <summary>ORs up to 64 words.</summary>
    /// <returns>A bit for each word of the source that is not zero.</returns>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static ulong Or(ulong* target, ulong* source, int length)
    {
        var set = 0UL;
        var i = 0;
        for (; i + Vector256<ulong>.Count <= length; i += Vector256<ulong>.Count)
        {
            var bits = Vector256.Load(source + i);
            if (bits == Vector256<ulong>.Zero)
                continue;
            set |= (ulong)(~Vector256.Equals(bits, Vector256<ulong>.Zero).ExtractMostSignificantBits() & 0xF) << i;
            (Vector256.Load(target + i) | bits).Store(target + i);
        }

        for (; i < length; i++)
        {
            if (source[i] == 0)
                continue;
            set |= 1UL << i;
            target[i] |= source[i];
        }

        return set;
    }

    /// <summary>A bit for each of up to 64 words that is not zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static ulong SetWords(ulong* words, int length)
    {
        var set = 0UL;
        var i = 0;
        for (; i + Vector256<ulong>.Count <= length; i += Vector256<ulong>.Count)
            set |= (ulong)(~Vector256.Equals(Vector256.Load(words + i), Vector256<ulong>.Zero).ExtractMostSignificantBits() & 0xF) << i;
        for (; i < length; i++)
            set |= words[i] != 0 ? 1UL << i : 0;
        return set;
    }

    private void Summarise(long index, ulong bits)
    {
        for (var level = 1; level < _levelCount; level++)
        {
            ref var word = ref _levels[level].Words[index];
            if ((word & bits) == bits)
                return;
            word |= bits;
            bits = 1UL << (int)(index & 63);
            index >>= WordShift;
        }
    }
}
