using System.Globalization;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>The segment files of a journal's directory.</summary>
internal static class SegmentFiles
{
    /// <summary>Numbers of the segments that are there, ascending.</summary>
    public static List<long> Numbers(IJournalDisk disk, string directory)
    {
        List<long> numbers = [];
        foreach (var file in disk.Names(directory).Where(f => f.EndsWith(".seg", StringComparison.Ordinal)))
        {
            if (long.TryParse(Path.GetFileNameWithoutExtension(
                file), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                numbers.Add(number);
        }

        numbers.Sort();
        return numbers;
    }

    public static string PathOf(string directory, long number) =>
        Path.Combine(directory, SegmentHeader.FileName(number));

    /// <summary>The headers of the segments in use, ascending; one that was only prepared is left out.</summary>
    /// <exception cref="CorruptionException">A header is damaged, cannot be read, or belongs to another volume.</exception>
    /// <exception cref="FormatVersionException">A later program wrote one.</exception>
    public static List<SegmentHeader> Headers(IJournalDisk disk, string directory, Guid volumeId)
    {
        List<SegmentHeader> headers = [];
        foreach (var number in Numbers(disk, directory))
            if (Header(disk, directory, volumeId, number) is { } header)
                headers.Add(header);
        return headers;
    }

    /// <summary>The header of one segment; null when it is not there, or was only prepared.</summary>
    /// <exception cref="CorruptionException">It is damaged, cannot be read, or belongs to another volume.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    public static SegmentHeader? Header(IJournalDisk disk, string directory, Guid volumeId, long number)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        var path = PathOf(directory, number);
        using var file = disk.TryOpen(path, writable: false);
        var length = file is null ? 0 : SegmentBytes.ReadBefore(disk, path, file, sector, 0);
        if (!sector[..length].ContainsAnyExcept((byte)0))
            return null;
        SegmentHeader.RefuseLaterVersion(sector[..length], path);
        var header = SegmentHeader.TryRead(sector[..length], out var fault)
            ?? throw new CorruptionException(path, 0, fault);
        return header.VolumeId == volumeId && header.Number == number
            ? header
            : throw new CorruptionException(path, 8, $"it is segment {header.Number} of volume {header.VolumeId}");
    }

    /// <summary>For each segment the LSN up to which its records count: later segments that were written again say
    /// so.</summary>
    public static long[] Limits(IReadOnlyList<SegmentHeader> headers)
    {
        var limits = new long[headers.Count];
        var limit = long.MaxValue;
        for (var i = headers.Count - 1; i >= 0; i--)
        {
            limits[i] = limit;
            if (headers[i].Rewrites)
                limit = Math.Min(limit, headers[i].LastLsn);
        }

        return limits;
    }

    /// <summary>For each segment, and behind the last one, the LSN up to which the segments before it must hold every
    /// write: headers say so, and a later one may take it back. What is missing above it is void.</summary>
    public static long[] StoredBefore(IReadOnlyList<SegmentHeader> headers)
    {
        var stored = new long[headers.Count + 1];
        stored[^1] = long.MaxValue;
        for (var i = headers.Count - 1; i >= 0; i--)
            stored[i] = Math.Min(stored[i + 1], headers[i].StoredLsn);
        return stored;
    }

    /// <summary>A segment before the first one in use that holds records and no header: older segments are deleted, not
    /// emptied. Null when there is none.</summary>
    /// <exception cref="CorruptionException">A place of one cannot be read.</exception>
    public static string? FindLostHeader(IJournalDisk disk, string directory, IReadOnlyList<SegmentHeader> headers)
    {
        if (headers.Count == 0 || !headers[0].DeclaresVoids)
            return null;
        foreach (var number in Numbers(disk, directory).TakeWhile(n => n < headers[0].Number))
            if (SegmentBytes.TryReadWhole(disk, PathOf(directory, number)).AsSpan().ContainsAnyExcept((byte)0))
                return PathOf(directory, number);

        return null;
    }

    /// <summary>Deletes the segments before one that a crash left without a header.</summary>
    public static void DeleteUnused(IJournalDisk disk, string directory, Guid volumeId, long before)
    {
        foreach (var number in Numbers(disk, directory).TakeWhile(n => n < before))
            if (Header(disk, directory, volumeId, number) is null)
                disk.Delete(PathOf(directory, number));
    }
}
