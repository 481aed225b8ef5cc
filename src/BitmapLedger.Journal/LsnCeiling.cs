using System.Buffers.Binary;

namespace BitmapLedger.Journal;

/// <summary>
/// The LSN that no write exceeds until a higher one is durable: after a power loss LSNs go on above it, so that none
/// is ever
/// given twice, whatever the disk forgot. Layout: FORMAT.md. Any number of threads.
/// </summary>
internal sealed class LsnCeiling
{
    private const uint Magic = 0x434C_4D42; // "BMLC" as it lies on disk
    private const int Size = 20;
    private readonly IJournalDisk _disk;
    private readonly string _path;
    private readonly long _ahead;
    private readonly Lock _raising = new();
    private long _value;

    private LsnCeiling(IJournalDisk disk, string path, long ahead, long value)
    {
        _disk = disk;
        _path = path;
        _ahead = ahead;
        _value = value;
    }

    /// <summary>The ceiling; 0 when there is none yet.</summary>
    public long Value => Volatile.Read(ref _value);

    public static LsnCeiling Read(IJournalDisk disk, string directory, long ahead)
    {
        var path = Path.Combine(directory, "ceiling");
        var value = WholeFile.Read(disk, path, Magic) is { Length: >= Size - sizeof(uint) } bytes
            ? BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8))
            : 0;
        return new(disk, path, ahead, value);
    }

    /// <summary>Raises the ceiling where less than half of what was set ahead is left: early enough, and by somebody who
    /// may wait, so that a write hardly ever has to.</summary>
    public void KeepAhead(long lsn)
    {
        try
        {
            lock (_raising)
                if (lsn > Value - _ahead / 2)
                    Raise(Math.Max(lsn, Value));
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            // Whoever needs it tries again, and gets the refusal.
        }
    }

    private void Raise(long lsn)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Magic);
        bytes[4] = 1;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), lsn + _ahead);
        WholeFile.Write(_disk, _path, bytes);
        Volatile.Write(ref _value, lsn + _ahead);
    }

    /// <summary>Makes sure that LSNs up to this one may be given; false when the disk refused.</summary>
    public bool TryCover(long lsn)
    {
        if (lsn <= Value)
            return true;
        try
        {
            lock (_raising)
                if (lsn > Value)
                    Raise(lsn);
            return true;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
