using System.Buffers.Binary;

namespace BitmapLedger.Journal;

/// <summary>
/// The LSN that no write exceeds until a higher one is durable: after a power loss LSNs go on above it, so that none
/// is ever
/// given twice, whatever the disk forgot. Layout: FORMAT.md. The caller holds the journal's lock.
/// </summary>
internal sealed class LsnCeiling
{
    private const uint Magic = 0x434C_4D42; // "BMLC" as it lies on disk
    private const int Size = 20;
    private readonly IJournalDisk _disk;
    private readonly string _path;
    private readonly long _ahead;

    private LsnCeiling(IJournalDisk disk, string path, long ahead, long value)
    {
        _disk = disk;
        _path = path;
        _ahead = ahead;
        Value = value;
    }

    /// <summary>The ceiling; 0 when there is none yet.</summary>
    public long Value { get; private set; }

    public static LsnCeiling Read(IJournalDisk disk, string directory, long ahead)
    {
        var path = Path.Combine(directory, "ceiling");
        var value = WholeFile.Read(disk, path, Magic) is { Length: >= Size - sizeof(uint) } bytes
            ? BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8))
            : 0;
        return new(disk, path, ahead, value);
    }

    /// <summary>Whether less than half of what was set ahead is left.</summary>
    public bool IsNear(long lsn) => lsn > Value - _ahead / 2;

    /// <summary>Raises the ceiling above an LSN; durable when this returns.</summary>
    public void Raise(long lsn)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = 1;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), lsn + _ahead);
        WholeFile.Write(_disk, _path, bytes);
        Value = lsn + _ahead;
    }

    /// <summary>Makes sure that LSNs up to this one may be given; false when the disk refused.</summary>
    public bool TryCover(long lsn)
    {
        if (lsn <= Value)
            return true;
        try
        {
            Raise(lsn);
            return true;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
