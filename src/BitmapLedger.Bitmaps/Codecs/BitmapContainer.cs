using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>How the bits of a container are written. The values are stored; they never change.</summary>
internal enum BitmapForm : byte
{
    /// <summary>Every block is dirty; no payload.</summary>
    Full = 1,

    /// <summary>Pairs of varints: clean blocks before the run, dirty blocks less one.</summary>
    Runs = 2,

    /// <summary>A varint a dirty block: clean blocks since the one before.</summary>
    Gaps = 3,

    /// <summary>The bits themselves, little-endian words, as many bytes as the container has.</summary>
    Raw = 4,
}

/// <summary>The blocks of one container, as 64-bit words on one side and as bytes on the other.</summary>
internal static class BitmapContainer
{
    /// <summary>Bytes that <see cref="Write"/> may need: the raw form, and a value more that shows it to be smaller.</summary>
    public static int BytesMax(int blocks) => (blocks + 7) / 8 + sizeof(ulong) + 2 * Varint.BytesMax;

    /// <summary>Writes a container in its smallest form.</summary>
    /// <param name="target">At least <see cref="BytesMax"/>.</param>
    /// <param name="words">Not all zero; bits behind the end are zero.</param>
    /// <param name="blocks">Blocks of the container.</param>
    /// <param name="length">Bytes written.</param>
    public static BitmapForm Write(Span<byte> target, ReadOnlySpan<ulong> words, int blocks, out int length)
    {
        var (dirty, runs) = Count(words);
        length = 0;
        if (dirty == blocks)
            return BitmapForm.Full;
        var rawBytes = (blocks + 7) / 8;
        // A gap takes a byte at least and a run two, so that a dense container is never tried in vain.
        if (Math.Min(dirty, 2L * runs) < rawBytes)
        {
            // Each run costs its gap in both forms, and one byte at least against one for each of its other blocks.
            var form = dirty - runs <= runs ? BitmapForm.Gaps : BitmapForm.Runs;
            if (TryWriteRuns(target[..(rawBytes + 2 * Varint.BytesMax)], words, form, rawBytes, out length))
                return form;
        }

        length = rawBytes;
        MemoryMarshal.AsBytes(words)[..rawBytes].CopyTo(target);
        return BitmapForm.Raw;
    }

    /// <summary>Marks in words what a container holds; what is set in them stays. They may have been marked in part, or wrongly,
    /// when it is not what was written.</summary>
    public static bool TryRead(ReadOnlySpan<byte> source, BitmapForm form, Span<ulong> words, int blocks) => form switch
    {
        BitmapForm.Full => source.IsEmpty && Fill(words, blocks),
        BitmapForm.Gaps => TryReadGaps(source, words, blocks),
        BitmapForm.Runs => TryReadRuns(source, words, blocks),
        BitmapForm.Raw => TryReadRaw(source, words, blocks),
        _ => false,
    };

    /// <summary>Marks the bits of [first, end).</summary>
    public static void Set(Span<ulong> words, int first, int end)
    {
        var lastWord = (end - 1) >> 6;
        for (var word = first >> 6; word <= lastWord; word++)
        {
            var mask = ulong.MaxValue;
            if (word == first >> 6)
                mask <<= first & 63;
            if (word == lastWord)
                mask &= ulong.MaxValue >> (63 - ((end - 1) & 63));
            words[word] |= mask;
        }
    }

    /// <summary>The next run of set bits at or after a bit.</summary>
    public static bool TryFindRun(ReadOnlySpan<ulong> words, int from, out int first, out int end)
    {
        first = Find(words, from, 0);
        end = first < words.Length << 6 ? Find(words, first, ulong.MaxValue) : first;
        return end > first;
    }

    /// <summary>The first bit at or after one that is set; or that is clean, when the words are inverted by
    /// <paramref name="invert"/>.</summary>
    private static int Find(ReadOnlySpan<ulong> words, int from, ulong invert)
    {
        for (var word = from >> 6; word < words.Length; word++, from = word << 6)
        {
            var bits = (words[word] ^ invert) & ulong.MaxValue << (from & 63);
            if (bits != 0)
                return (word << 6) + BitOperations.TrailingZeroCount(bits);
        }

        return words.Length << 6;
    }

    /// <summary>How many bits are set, and in how many runs.</summary>
    public static (long Dirty, long Runs) Count(ReadOnlySpan<ulong> words)
    {
        long dirty = 0, runs = 0;
        var carry = 0UL;
        foreach (var word in words)
        {
            dirty += BitOperations.PopCount(word);
            runs += BitOperations.PopCount(word & ~(word << 1 | carry));
            carry = word >> 63;
        }

        return (dirty, runs);
    }

    private static bool TryWriteRuns(
        Span<byte> target, ReadOnlySpan<ulong> words, BitmapForm form, int bytesMax, out int length)
    {
        length = 0;
        var last = 0;
        for (var from = 0; TryFindRun(words, from, out var first, out var end); from = end)
        {
            length += Varint.Write(target[length..], (ulong)(first - last));
            if (form == BitmapForm.Runs)
                length += Varint.Write(target[length..], (ulong)(end - first - 1));
            else
                for (var i = first + 1; i < end && length < bytesMax; i++)
                    target[length++] = 0;
            if (length >= bytesMax)
                return false;
            last = end;
        }

        return true;
    }

    private static bool Fill(Span<ulong> words, int blocks)
    {
        Set(words, 0, blocks);
        return true;
    }

    // Here and below: a question is seldom asked thirty times before somebody waits for its answer, and code that is not
    // optimised yet takes five times as long.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool TryReadGaps(ReadOnlySpan<byte> source, Span<ulong> words, int blocks)
    {
        if (source.IsEmpty || blocks < 1 || words.Length != (blocks + 63) >> 6)
            return false;
        var at = 0;
        for (var position = 0; position < source.Length;)
        {
            if (source.Length - position >= sizeof(ulong)
                && BinaryPrimitives.ReadUInt64LittleEndian(source[position..]) is var bytes
                && (bytes & Varint.Continued) is var more && (more & more << 8) == 0)
            {
                var count = more >> 63 == 0 ? 8 : 7;
                at = MarkGaps(bytes, more, count, at, words);
                position += count;
            }
            else
            {
                if (!Varint.TryRead(source, ref position, out var gap) || gap >= (ulong)(blocks - at))
                    return false;
                at += (int)gap;
                words[at >> 6] |= 1UL << at;
                at++;
            }

            if (at > blocks)
                return false;
        }

        return true;
    }

    /// <summary>Marks what several gaps of one or two bytes say, without a branch for any of them: where the bytes of a gap end
    /// is as good as random.</summary>
    /// <param name="bytes">The gaps.</param>
    /// <param name="more">Their bits that say that more follow.</param>
    /// <param name="count">Bytes that are whole gaps.</param>
    /// <param name="at">The block behind the last one that is dirty.</param>
    /// <param name="words">Are marked; what lies behind them is marked in the last one.</param>
    /// <returns>The block behind the last one that is dirty; the caller looks whether there is such a one.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int MarkGaps(ulong bytes, ulong more, int count, int at, Span<ulong> words)
    {
        ref var first = ref MemoryMarshal.GetReference(words);
        var last = words.Length - 1;
        var shift = 0;
        for (var i = 0; i < count; i++)
        {
            var ends = (int)(~more >> 7) & 1;
            at += ((int)bytes & 0x7F) << shift;
            Unsafe.Add(ref first, Math.Min(at >> 6, last)) |= (ulong)ends << at;
            at += ends;
            shift = 7 - 7 * ends;
            bytes >>= 8;
            more >>= 8;
        }

        return at;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool TryReadRuns(ReadOnlySpan<byte> source, Span<ulong> words, int blocks)
    {
        if (source.IsEmpty)
            return false;
        var at = 0;
        for (var position = 0; position < source.Length;)
        {
            if (!Varint.TryRead(source, ref position, out var gap) || !Varint.TryRead(source, ref position, out var more)
                || gap >= (ulong)(blocks - at) || more >= (ulong)(blocks - at) - gap)
                return false;
            at += (int)gap;
            Set(words, at, at + (int)more + 1);
            at += (int)more + 1;
        }

        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool TryReadRaw(ReadOnlySpan<byte> source, Span<ulong> words, int blocks)
    {
        if (source.Length != (blocks + 7) / 8)
            return false;
        var whole = MemoryMarshal.Cast<byte, ulong>(source)[..(blocks >> 6)];
        for (var i = 0; i < whole.Length && i < words.Length; i++)
            words[i] |= whole[i];
        if ((blocks & 63) == 0)
            return true;
        Span<byte> rest = stackalloc byte[sizeof(ulong)];
        rest.Clear();
        source[(whole.Length * sizeof(ulong))..].CopyTo(rest);
        var bits = BinaryPrimitives.ReadUInt64LittleEndian(rest);
        words[^1] |= bits;
        return bits >> (blocks & 63) == 0;
    }
}
