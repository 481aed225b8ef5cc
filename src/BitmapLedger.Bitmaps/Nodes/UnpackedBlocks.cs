using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Bitmaps.Nodes;

/// <summary>How the blocks of a stretch lie in memory. The values are not stored.</summary>
internal enum UnpackedForm : byte
{
    /// <summary>A byte a dirty block: how far it is from the one before, or the beginning. Where that is 255 or more, 255 says to go
    /// on as far and mark nothing.</summary>
    Distances,

    /// <summary>Two bytes a dirty block: its number.</summary>
    Numbers,

    /// <summary>Two bytes each for the first and the last block of a run.</summary>
    Runs,

    /// <summary>The words themselves.</summary>
    Raw,
}

/// <summary>The blocks of a stretch in whichever form is smallest. None has to be checked when it is marked: nothing but
/// <see cref="Write"/> makes them.</summary>
internal static class UnpackedBlocks
{
    /// <summary>Most blocks of a stretch: their numbers fit two bytes.</summary>
    public const int BlocksMax = 1 << 16;

    /// <summary>Most words of a stretch.</summary>
    public const int WordsMax = BlocksMax / 64;

    private const int GoOn = 255;

    /// <summary>Writes the blocks of a stretch.</summary>
    /// <param name="target">At least as many bytes as <paramref name="words"/>.</param>
    /// <param name="words">The bits of at most <see cref="BlocksMax"/> blocks, not all zero.</param>
    /// <param name="length">Bytes written.</param>
    public static UnpackedForm Write(Span<byte> target, ReadOnlySpan<ulong> words, out int length)
    {
        var (dirty, runs) = BitmapContainer.Count(words);
        long raw = words.Length * sizeof(ulong), distances = dirty + (words.Length * 64L / GoOn) + 1;
        var least = Math.Min(Math.Min(raw, distances), Math.Min(dirty * sizeof(ushort), runs * 2 * sizeof(ushort)));
        if (least == raw)
        {
            length = (int)raw;
            MemoryMarshal.AsBytes(words).CopyTo(target);
            return UnpackedForm.Raw;
        }

        if (least == distances)
        {
            length = WriteDistances(target, words);
            return UnpackedForm.Distances;
        }

        var form = least == runs * 2 * sizeof(ushort) ? UnpackedForm.Runs : UnpackedForm.Numbers;
        length = form == UnpackedForm.Runs ? WriteRuns(target, words) : WriteNumbers(target, words);
        return form;
    }

    /// <summary>Marks the blocks of a stretch; what is set in the words stays.</summary>
    /// <param name="source">What <see cref="Write"/> wrote.</param>
    /// <param name="form">Its form.</param>
    /// <param name="words">As many words.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Mark(ReadOnlySpan<byte> source, UnpackedForm form, Span<ulong> words)
    {
        switch (form)
        {
            case UnpackedForm.Distances:
                MarkDistances(source, words);
                break;
            case UnpackedForm.Numbers:
                foreach (var number in MemoryMarshal.Cast<byte, ushort>(source))
                    words[number >> 6] |= 1UL << number;
                break;
            case UnpackedForm.Runs:
                var ends = MemoryMarshal.Cast<byte, ushort>(source);
                for (var i = 0; i + 1 < ends.Length; i += 2)
                    BitmapContainer.Set(words, ends[i], ends[i + 1] + 1);
                break;
            default:
                var bits = MemoryMarshal.Cast<byte, ulong>(source);
                for (var i = 0; i < bits.Length && i < words.Length; i++)
                    words[i] |= bits[i];
                break;
        }
    }

    // Whether a byte marks anything is computed and not branched on: at random one in some dozens does not.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MarkDistances(ReadOnlySpan<byte> source, Span<ulong> words)
    {
        var at = 0;
        foreach (var distance in source)
        {
            at += distance;
            words[at >> 6] |= (ulong)((uint)(distance - GoOn) >> 31) << at;
        }
    }

    private static int WriteDistances(Span<byte> target, ReadOnlySpan<ulong> words)
    {
        var (length, last) = (0, 0);
        for (var i = 0; i < words.Length; i++)
        {
            for (var bits = words[i]; bits != 0; bits &= bits - 1)
            {
                var at = (i << 6) + BitOperations.TrailingZeroCount(bits);
                for (; at - last >= GoOn; last += GoOn)
                    target[length++] = GoOn;
                target[length++] = (byte)(at - last);
                last = at;
            }
        }

        return length;
    }

    private static int WriteNumbers(Span<byte> target, ReadOnlySpan<ulong> words)
    {
        var length = 0;
        for (var i = 0; i < words.Length; i++)
            for (var bits = words[i]; bits != 0; bits &= bits - 1, length += sizeof(ushort))
                MemoryMarshal.Write(target[length..], (ushort)((i << 6) + BitOperations.TrailingZeroCount(bits)));
        return length;
    }

    private static int WriteRuns(Span<byte> target, ReadOnlySpan<ulong> words)
    {
        var length = 0;
        for (var from = 0; BitmapContainer.TryFindRun(words, from, out var first, out var end); from = end, length += 2 * sizeof(ushort))
        {
            MemoryMarshal.Write(target[length..], (ushort)first);
            MemoryMarshal.Write(target[(length + sizeof(ushort))..], (ushort)(end - 1));
        }

        return length;
    }
}
