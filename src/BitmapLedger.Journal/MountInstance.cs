using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// Which mounting of a file system, and which attaching of a disk, some files are on. What the kernel has in memory of a file
/// lasts as long as these, which may be shorter than a boot. Linux.
/// </summary>
/// <remarks>
/// The kernel gives a mounted ext4, xfs or f2fs a folder below <c>/sys/fs</c> whose inode number no other one has in this boot,
/// and since Linux 5.15 each attached disk a sequence number. Ids of mounts are no use here: every new mount namespace, so
/// every start of a sandboxed service, has others.
/// </remarks>
public static partial class MountInstance
{
    private const int CurrentDirectory = -100;
    private const uint Basic = 0x7FF;
    private const int StatusBytes = 256;
    private const int ModeAt = 28, InodeAt = 32, OwnDeviceAt = 128, DeviceAt = 136;
    private const ushort TypeMask = 0xF000, BlockDevice = 0x6000;

    /// <summary>A number that differs when one of the files is on another mounting or attaching than before.</summary>
    /// <param name="paths">Files, directories or block devices.</param>
    /// <returns>0 when the kernel tells of none of them.</returns>
    public static long Of(params IEnumerable<string> paths)
    {
        var told = string.Join('|', paths.Select(Describe));
        // Never 0 for what is told: the bit above the checksum.
        return told.All(c => c == '|') ? 0 : 1L << 32 | Crc32C.Of(Encoding.UTF8.GetBytes(told));
    }

    private static string Describe(string path)
    {
        Span<byte> told = stackalloc byte[StatusBytes];
        // What is not there yet will be where its directory is.
        var there = path;
        while (Status(CurrentDirectory, there, 0, Basic, told) != 0)
            if (Path.GetDirectoryName(there) is { Length: > 0 } parent)
                there = parent;
            else
                return "";
        var isDisk = (BinaryPrimitives.ReadUInt16LittleEndian(told[ModeAt..]) & TypeMask) == BlockDevice;
        var number = told[(isDisk ? OwnDeviceAt : DeviceAt)..];
        var device = string.Create(
            CultureInfo.InvariantCulture,
            $"{BinaryPrimitives.ReadUInt32LittleEndian(number)}:{BinaryPrimitives.ReadUInt32LittleEndian(number[4..])}");
        try
        {
            // Not there for what is on no block device: such a file system says nothing of itself.
            if (Directory.ResolveLinkTarget($"/sys/dev/block/{device}", returnFinalTarget: true) is not { Exists: true } disk)
                return "";
            return $"{device} {(isDisk ? "" : InodeOfMounted(disk.Name))} {SequenceOf(disk.FullName)}";
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static string InodeOfMounted(string device)
    {
        Span<byte> told = stackalloc byte[StatusBytes];
        foreach (var type in Directory.EnumerateDirectories("/sys/fs").Order(StringComparer.Ordinal))
            if (Status(CurrentDirectory, Path.Combine(type, device), 0, Basic, told) == 0)
                return BinaryPrimitives.ReadUInt64LittleEndian(told[InodeAt..]).ToString(CultureInfo.InvariantCulture);
        return "";
    }

    private static string SequenceOf(string disk)
    {
        // A partition has the number of its disk.
        foreach (var file in new[] { Path.Combine(disk, "diskseq"), Path.Combine(disk, "..", "diskseq") })
            if (File.Exists(file))
                return File.ReadAllText(file).Trim();
        return "";
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int directory, string path, int flags, uint mask, Span<byte> status);
}
