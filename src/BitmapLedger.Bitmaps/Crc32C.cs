using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace BitmapLedger.Bitmaps;

/// <summary>CRC-32C (Castagnoli) in hardware; "123456789" gives E3069283.</summary>
public static class Crc32C
{
    /// <summary>Checksum of <paramref name="bytes"/>, salted so that bytes of another place never validate
    /// here.</summary>
    /// <param name="bytes">What is protected.</param>
    /// <param name="salt">0 for the plain checksum.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static uint Of(ReadOnlySpan<byte> bytes, uint salt = 0)
    {
        var crc = ~salt;
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (var b in bytes)
            crc = BitOperations.Crc32C(crc, b);
        return ~crc;
    }
}
