using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal.Tests;

/// <summary>Bytes of a small file of a journal, whose last four are its checksum.</summary>
internal static class WholeFileBytes
{
    /// <summary>Writes the checksum.</summary>
    public static void Seal(Span<byte> bytes) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[^sizeof(uint)..], Crc32C.Of(bytes[..^sizeof(uint)]));

    /// <summary>Changes a file, which stays whole.</summary>
    public static void Change(string path, Action<byte[]> change)
    {
        var bytes = File.ReadAllBytes(path);
        change(bytes);
        Seal(bytes);
        File.WriteAllBytes(path, bytes);
    }

    /// <summary>A boot state as another boot of the machine would have left it: open, and under another boot id.</summary>
    public static void GoDown(byte[] boot)
    {
        boot[4] = 0;
        boot[10] ^= 0xFF;
    }
}
