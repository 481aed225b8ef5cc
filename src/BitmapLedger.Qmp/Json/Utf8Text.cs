using System.Numerics;
using System.Text;

namespace BitmapLedger.Qmp.Json;

/// <summary>
/// QEMU's modified UTF-8 (unicode.c): U+0000 may be written as C0 80; surrogates, noncharacters and overlong forms are
/// refused.
/// </summary>
internal static class Utf8Text
{
    private const int LengthMax = 6;

    /// <summary>The least character that needs 2, 3, 4, 5 and 6 bytes.</summary>
    private static readonly int[] _least = [0x80, 0x800, 0x10000, 0x200000, 0x4000000];

    /// <summary>Whether text may hold the character.</summary>
    public static bool IsCharacter(int codePoint) =>
        codePoint is >= 0 and <= 0x10FFFF and not (>= 0xD800 and <= 0xDFFF) and not (>= 0xFDD0 and <= 0xFDEF)
        && (codePoint & 0xFFFE) != 0xFFFE;

    /// <summary>The character that begins here; negative when none does.</summary>
    /// <param name="bytes">At least one byte.</param>
    /// <param name="length">Bytes that it takes, or that are to be passed over.</param>
    public static int Read(ReadOnlySpan<byte> bytes, out int length)
    {
        var first = bytes[0];
        length = 1;
        if (first < 0x80)
            return first;
        var whole = BitOperations.LeadingZeroCount((uint)(byte)~first) - 24;
        if (whole is < 2 or > LengthMax)
            return -1;
        var codePoint = first & (0x7F >> whole);
        for (; length < whole; length++)
        {
            if (length == bytes.Length || (bytes[length] & 0xC0) != 0x80)
                return -1;
            codePoint = (codePoint << 6) | (bytes[length] & 0x3F);
        }

        return IsCharacter(codePoint) && (codePoint >= _least[whole - 2] || (codePoint == 0 && whole == 2)) ? codePoint : -1;
    }

    /// <summary>Bytes as they are shown: up to the first zero, and what is no character replaced.</summary>
    public static string Show(ReadOnlySpan<byte> bytes)
    {
        var shown = new StringBuilder();
        while (!bytes.IsEmpty && bytes[0] != 0)
        {
            var codePoint = Read(bytes, out var length);
            shown.Append(codePoint < 0 ? "\uFFFD" : char.ConvertFromUtf32(codePoint));
            bytes = bytes[length..];
        }

        return shown.ToString();
    }
}
