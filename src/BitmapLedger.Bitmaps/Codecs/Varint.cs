using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>LEB128: seven bits a byte, least significant first, the high bit says that more follow.</summary>
internal static class Varint
{
    public const int BytesMax = 10;

    /// <summary>In each of eight bytes the bit that says that more follow.</summary>
    public const ulong Continued = 0x8080_8080_8080_8080;

    public static int Write(Span<byte> target, ulong value)
    {
        var count = 0;
        for (; value >= 0x80; value >>= 7)
            target[count++] = (byte)(value | 0x80);
        target[count++] = (byte)value;
        return count;
    }

    public static int Size(ulong value) => (70 - BitOperations.LeadingZeroCount(value | 1)) / 7;

    /// <summary>Reads one value and moves <paramref name="position"/> behind it; false when it is cut off or over 64
    /// bits.</summary>
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, out ulong value)
    {
        // Eight bytes at once wherever there are as many: most values end within them.
        if (Bmi2.X64.IsSupported && source.Length - position >= sizeof(ulong))
        {
            var word = BinaryPrimitives.ReadUInt64LittleEndian(source[position..]);
            var ends = ~word & Continued;
            if (ends != 0)
            {
                var bits = BitOperations.TrailingZeroCount(ends) + 1;
                position += bits >> 3;
                value = Bmi2.X64.ParallelBitExtract(word & ulong.MaxValue >> (64 - bits), ~Continued);
                return true;
            }
        }

        value = 0;
        for (var shift = 0; shift < 64 && (uint)position < (uint)source.Length; shift += 7)
        {
            var b = source[position++];
            if (shift == 63 && b > 1)
                return false;
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
                return true;
        }

        return false;
    }

    /// <summary>Reads as many values as there is room for and moves <paramref name="position"/> behind them; false when one is cut
    /// off or over 64 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool TryRead(ReadOnlySpan<byte> source, ref int position, Span<ulong> values)
    {
        var at = position;
        for (var i = 0; i < values.Length;)
        {
            var ahead = source.Length - at;
            if (Bmi2.X64.IsSupported && ahead >= Vector256<byte>.Count + sizeof(ulong))
            {
                var taken = TryReadGroup(ref Unsafe.Add(ref MemoryMarshal.GetReference(source), at), values[i..], out var bytes);
                (i, at) = (i + taken, at + bytes);
                if (taken > 0)
                    continue;
            }

            if (!TryRead(source, ref at, out values[i++]))
                return false;
        }

        position = at;
        return true;
    }

    /// <summary>Reads values that end within 32 bytes. Where all of them end is found at once: none waits for the one before it
    /// to be read.</summary>
    /// <param name="source">Has 40 bytes.</param>
    /// <param name="values">Takes them.</param>
    /// <param name="bytes">How many bytes they are.</param>
    /// <returns>How many they are; 0 when the first takes more than eight bytes.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int TryReadGroup(ref byte source, Span<ulong> values, out int bytes)
    {
        var ends = ~Vector256.LoadUnsafe(ref source).ExtractMostSignificantBits();
        var i = 0;
        bytes = 0;
        for (; ends != 0 && i < values.Length; ends &= ends - 1)
        {
            var length = BitOperations.TrailingZeroCount(ends) + 1 - bytes;
            if (length > sizeof(ulong))
                break;
            var word = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref source, bytes));
            values[i++] = Bmi2.X64.ParallelBitExtract(word & ulong.MaxValue >> (64 - 8 * length), ~Continued);
            bytes += length;
        }

        return i;
    }

    public static ulong ZigZag(long value) => (ulong)(value << 1) ^ (ulong)(value >> 63);

    public static long UnZigZag(ulong value) => (long)(value >> 1) ^ -(long)(value & 1);
}
