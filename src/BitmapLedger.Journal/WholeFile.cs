using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// Small files that are replaced whole and durably: after a crash at any point there is the old one or the new one.
/// Each begins
/// with a magic number and ends with a CRC-32C of all before it.
/// </summary>
internal static class WholeFile
{
    private const int ChecksumBytes = sizeof(uint);

    /// <summary>The bytes of a file, checksum verified and cut off; null when it is not there.</summary>
    /// <exception cref="CorruptionException">It is not what was written.</exception>
    public static byte[]? Read(IJournalDisk disk, string path, uint magic)
    {
        using var file = disk.TryOpen(path, writable: false);
        if (file is null)
            return null;
        var bytes = new byte[file.Length];
        var length = file.Read(bytes, 0);
        if (length < 2 * sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != magic)
            throw new CorruptionException(path, 0, "the file does not begin as it should");
        var at = length - ChecksumBytes;
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) == Crc32C.Of(bytes.AsSpan(0, at))
            ? bytes[..at]
            : throw new CorruptionException(path, at, "the checksum of the file does not match");
    }

    /// <summary>Replaces a file; durable when this returns.</summary>
    /// <returns>The file, open.</returns>
    public static IJournalFile Replace(IJournalDisk disk, string path, ReadOnlySpan<byte> bytes)
    {
        var next = path + ".next";
        var file = disk.Create(next);
        try
        {
            file.Write(bytes, 0);
            file.Sync();
            disk.Move(next, path);
            disk.SyncDirectory(Path.GetDirectoryName(path)!);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Replaces a file by bytes whose last four become their checksum; durable when this returns.</summary>
    public static void Write(IJournalDisk disk, string path, byte[] bytes)
    {
        var at = bytes.Length - ChecksumBytes;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), Crc32C.Of(bytes.AsSpan(0, at)));
        Replace(disk, path, bytes).Dispose();
    }
}
