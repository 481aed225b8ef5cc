using System.Buffers.Binary;
using System.Numerics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>The journal of a ledger's only volume as it lies on the disk, to be damaged.</summary>
internal static class JournalFiles
{
    private const int HeaderBytes = 512;
    private const int SlotBytes = 64;
    private const int KindOffset = 4;
    private const int LsnOffset = 12;
    private const int MarkedLsnOffset = 36;
    private const int KindOfWrite = 1;
    private const int KindOfMarks = 6;

    public static string Of(Ledger ledger, string image)
    {
        // One journal a volume, and the volume's spec names its image.
        var volumes = File.ReadAllText(Path.Combine(ledger.DataDirectory, "agent", "volumes.json"));
        using var document = System.Text.Json.JsonDocument.Parse(volumes);
        var id = document.RootElement.GetProperty("volumes").EnumerateArray()
            .Single(v => v.GetProperty("name").GetString() == image).GetProperty("id").GetString()!;
        return Path.Combine(ledger.DataDirectory, "journal", id);
    }

    /// <summary>Turns bits of the record of a write; answers where it stands.</summary>
    public static (string File, long Byte) DamageRecord(string journal, long lsn)
    {
        var (path, at) = Find(journal, slot => LsnOfWrite(slot) == lsn)
            ?? throw new InvalidOperationException($"No record of LSN {lsn} in {journal}.");
        var slot = Read(path, at, SlotBytes);
        slot[KindOffset + 30] ^= 0xFF;
        Write(path, at, slot);
        return (path, at);
    }

    /// <summary>Zeroes the sector in which the record of a write stands; answers where it begins and whose records it
    /// held.</summary>
    public static (string File, long Byte, IReadOnlyList<long> Lsns) ZeroSector(string journal, long lsn)
    {
        var (path, at) = Find(journal, slot => LsnOfWrite(slot) == lsn)
            ?? throw new InvalidOperationException($"No record of LSN {lsn} in {journal}.");
        at -= at % HeaderBytes;
        var lost = Read(path, at, HeaderBytes).Chunk(SlotBytes).Select(slot => LsnOfWrite(slot)).OfType<long>().ToList();
        Write(path, at, new byte[HeaderBytes]);
        return (path, at, lost);
    }

    /// <summary>Makes a file of a later version of one that ends with its checksum.</summary>
    public static void RaiseVersion(string path, int versionAt, byte version)
    {
        var bytes = File.ReadAllBytes(path);
        bytes[versionAt] = version;
        var checksum = ~bytes[..^sizeof(uint)].Aggregate(uint.MaxValue, BitOperations.Crc32C);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(bytes.Length - sizeof(uint)), checksum);
        File.WriteAllBytes(path, bytes);
    }

    /// <summary>Whether the journal says that it is durable up to an LSN.</summary>
    public static bool IsMarkedDurable(string journal, long lsn) => Find(
        journal, slot => slot[KindOffset] == KindOfMarks && BinaryPrimitives.ReadInt64LittleEndian(slot.AsSpan(MarkedLsnOffset)) >= lsn) is not null;

    private static long? LsnOfWrite(byte[] slot) =>
        slot[KindOffset] == KindOfWrite ? BinaryPrimitives.ReadInt64LittleEndian(slot.AsSpan(LsnOffset)) : null;

    private static (string File, long Byte)? Find(string journal, Predicate<byte[]> wanted)
    {
        foreach (var path in Directory.GetFiles(journal, "*.seg").Order(StringComparer.Ordinal))
        {
            var bytes = Read(path, HeaderBytes, (int)new FileInfo(path).Length - HeaderBytes);
            var index = Array.FindIndex([.. bytes.Chunk(SlotBytes)], wanted);
            if (index >= 0)
                return (path, HeaderBytes + (long)index * SlotBytes);
        }

        return null;
    }

    private static byte[] Read(string path, long at, int length)
    {
        using var file = Open(path, at);
        var bytes = new byte[length];
        file.ReadExactly(bytes);
        return bytes;
    }

    private static void Write(string path, long at, byte[] bytes)
    {
        using var file = Open(path, at);
        file.Write(bytes);
    }

    private static FileStream Open(string path, long at) =>
        new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete) { Position = at };
}
