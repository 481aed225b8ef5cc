using System.Buffers.Binary;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The LSN that no write exceeds until a higher one is durable: after a power loss LSNs go on above it, so that none
/// is ever
/// given twice, whatever the disk forgot. Layout: FORMAT.md. Any number of threads.
/// </summary>
internal sealed class LsnCeiling
{
    private const uint Magic = 0x434C_4D42; // "BMLC" as it lies on disk
    private const byte Version = 1;
    private const int VersionAt = 4;
    private const int Size = 20;

    /// <summary>More LSNs than can have been given that neither ledger nor disk knows of: their records are in memory, and
    /// of so many would be 256 GiB.</summary>
    private const long LsnsUnknownMax = 1L << 32;

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

    public static string PathIn(string directory) => Path.Combine(directory, "ceiling");

    /// <summary>Reads it; changes nothing.</summary>
    /// <exception cref="CorruptionException">The file is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    public static LsnCeiling Read(IJournalDisk disk, string directory, long ahead)
    {
        var path = PathIn(directory);
        if (WholeFile.Read(disk, path, Magic, VersionAt, Version) is not { } bytes)
            return new(disk, path, ahead, 0);
        return bytes[VersionAt] == Version && bytes.Length == Size - sizeof(uint)
            && BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(8)) is var value and >= 0
            ? new(disk, path, ahead, value)
            : throw new CorruptionException(path, 0, WholeFile.ValueFault);
    }

    /// <summary>Makes a ceiling in place of one that nobody can read any more.</summary>
    /// <param name="disk">Where the journal is.</param>
    /// <param name="directory">Its directory.</param>
    /// <param name="lsn">The last LSN that anybody knows of.</param>
    public static void Replace(IJournalDisk disk, string directory, long lsn) =>
        new LsnCeiling(disk, PathIn(directory), LsnsUnknownMax, 0).Raise(lsn);

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
        bytes[VersionAt] = Version;
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
