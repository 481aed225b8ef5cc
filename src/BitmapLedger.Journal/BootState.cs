using System.Buffers.Binary;
using System.Text;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// Whether the journal was closed in order, and in which boot of the machine it was last open. Durability
/// <c>process</c>
/// covers a killed process, whose pages the kernel still has; it does not cover another boot. Layout: FORMAT.md.
/// </summary>
internal sealed class BootState
{
    private const uint Magic = 0x5342_4D42; // "BMBS" as it lies on disk
    private const int Size = 64;
    private const int ChecksumOffset = Size - sizeof(uint);
    private readonly string _path;

    private BootState(string path, bool lost)
    {
        _path = path;
        IsLost = lost;
    }

    /// <summary>True when writes may be missing, until <see cref="Acknowledge"/>.</summary>
    public bool IsLost { get; private set; }

    /// <summary>Reads what the last run left, and marks the journal as open in this boot.</summary>
    public static BootState Open(string directory, bool hasSegments)
    {
        var path = Path.Combine(directory, "boot");
        var lost = hasSegments;
        if (File.Exists(path))
        {
            var bytes = File.ReadAllBytes(path);
            if (bytes.Length != Size || BinaryPrimitives.ReadUInt32LittleEndian(bytes) != Magic
                || BinaryPrimitives.ReadUInt32LittleEndian(
                    bytes.AsSpan(ChecksumOffset)) != Crc32C.Of(bytes.AsSpan(0, ChecksumOffset)))
                throw new CorruptionException(path, 0, "the checksum of the boot state does not match");
            var closed = bytes[4] != 0;
            var sameBoot = bytes.AsSpan(8, 36).SequenceEqual(CurrentBoot());
            lost = bytes[5] != 0 || !(closed || sameBoot);
        }

        var state = new BootState(path, lost);
        state.Write(closed: false);
        return state;
    }

    /// <summary>The ledger has recorded the loss.</summary>
    public void Acknowledge()
    {
        if (!IsLost)
            return;
        IsLost = false;
        Write(closed: false);
    }

    public void Close() => Write(closed: true);

    private static byte[] CurrentBoot()
    {
        var id = Encoding.ASCII.GetBytes(File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim());
        Array.Resize(ref id, 36);
        return id;
    }

    private void Write(bool closed)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = closed ? (byte)1 : (byte)0;
        bytes[5] = IsLost ? (byte)1 : (byte)0;
        CurrentBoot().CopyTo(bytes, 8);
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes.AsSpan(ChecksumOffset), Crc32C.Of(bytes.AsSpan(0, ChecksumOffset)));
        var next = _path + ".next";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }

        File.Move(next, _path, overwrite: true);
    }
}
