using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.Intrinsics.X86;

namespace BitmapLedger.Bitmaps.Codecs;

/// <summary>LEB128: seven bits a byte, least significant first, the high bit says that more follow.</summary>
internal static class Varint
{
    public const int BytesMax = 10;

    /// <summary>In each of eight bytes the bit that says that more follow.</summary>
    private const ulong Continued = 0x8080_8080_8080_8080;

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

    public static ulong ZigZag(long value) => (ulong)(value << 1) ^ (ulong)(value >> 63);

    public static long UnZigZag(ulong value) => (long)(value >> 1) ^ -(long)(value & 1);
}
