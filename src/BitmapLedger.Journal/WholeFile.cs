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
    /// <summary>What is wrong with a file whose values contradict each other, in words.</summary>
    public const string ValueFault = "a value of the file cannot be";

    /// <summary>What is wrong with a file of another kind, or of none, in words.</summary>
    public const string MagicFault = "the file does not begin as it should";

    private const int ChecksumBytes = sizeof(uint);

    /// <summary>Several times the longest file of this kind: 16,384 extents.</summary>
    private const int BytesMax = 1 << 20;

    /// <summary>The bytes of a file, checksum verified and cut off; null when it is not there.</summary>
    /// <param name="disk">Where it is.</param>
    /// <param name="path">Its path.</param>
    /// <param name="magic">What it begins with.</param>
    /// <param name="versionAt">The byte that its version stands in.</param>
    /// <param name="newest">The newest version that is read.</param>
    /// <exception cref="CorruptionException">It is not what was written, or cannot be read.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static byte[]? Read(IJournalDisk disk, string path, uint magic, int versionAt, byte newest)
    {
        if (ReadBytes(disk, path) is not { } bytes)
            return null;
        var at = bytes.Length - ChecksumBytes;
        if (at <= versionAt || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != magic)
            throw new CorruptionException(path, 0, MagicFault);
        // Before the version, which a flipped bit could have raised: magic, version and checksum stay where they are.
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) != Crc32C.Of(bytes.AsSpan(0, at)))
            throw new CorruptionException(path, at, "the checksum of the file does not match");
        return bytes[versionAt] <= newest ? bytes[..at] : throw new FormatVersionException(path, bytes[versionAt], newest);
    }

    /// <summary>All of a small file; null when it is not there.</summary>
    /// <exception cref="CorruptionException">It is too long to be one, or a place cannot be read.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static byte[]? ReadBytes(IJournalDisk disk, string path)
    {
        using (var file = disk.TryOpen(path, writable: false))
            if (file?.Length > BytesMax)
                throw new CorruptionException(path, BytesMax, "the file is longer than any of its kind");
        return SegmentBytes.TryReadWhole(disk, path);
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
