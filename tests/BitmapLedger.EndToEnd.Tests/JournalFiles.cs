using System.Buffers.Binary;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>The journal of a ledger's only volume as it lies on the disk, to be damaged.</summary>
internal static class JournalFiles
{
    private const int HeaderBytes = 512;
    private const int SlotBytes = 64;
    private const int KindOffset = 4;
    private const int LsnOffset = 12;
    private const int KindOfWrite = 1;

    public static string Of(Ledger ledger, string image)
    {
        // One journal a volume, and the volume's spec names its image.
        var volumes = File.ReadAllText(Path.Combine(ledger.DataDirectory, "agent", "volumes.json"));
        using var document = System.Text.Json.JsonDocument.Parse(volumes);
        var id = document.RootElement.EnumerateArray()
            .Single(v => v.GetProperty("name").GetString() == image).GetProperty("id").GetString()!;
        return Path.Combine(ledger.DataDirectory, "journal", id);
    }

    /// <summary>Turns bits of the record of a write; answers where it stands.</summary>
    public static (string File, long Byte) DamageRecord(string journal, long lsn)
    {
        foreach (var path in Directory.GetFiles(journal, "*.seg").Order(StringComparer.Ordinal))
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            var slot = new byte[SlotBytes];
            for (var at = (long)HeaderBytes; at + SlotBytes <= file.Length; at += SlotBytes)
            {
                file.Position = at;
                file.ReadExactly(slot);
                if (slot[KindOffset] != KindOfWrite
                    || BinaryPrimitives.ReadInt64LittleEndian(slot.AsSpan(LsnOffset)) != lsn)
                    continue;
                slot[KindOffset + 30] ^= 0xFF;
                file.Position = at;
                file.Write(slot);
                return (path, at);
            }
        }

        throw new InvalidOperationException($"No record of LSN {lsn} in {journal}.");
    }
}
