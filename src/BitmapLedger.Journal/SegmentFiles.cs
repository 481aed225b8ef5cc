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
    /// <exception cref="CorruptionException">A header is damaged, or belongs to another volume.</exception>
    public static List<SegmentHeader> Headers(IJournalDisk disk, string directory, Guid volumeId)
    {
        List<SegmentHeader> headers = [];
        foreach (var number in Numbers(disk, directory))
            if (Header(disk, directory, volumeId, number) is { } header)
                headers.Add(header);
        return headers;
    }

    /// <summary>The header of one segment; null when it is not there, or was only prepared.</summary>
    /// <exception cref="CorruptionException">It is damaged, or belongs to another volume.</exception>
    public static SegmentHeader? Header(IJournalDisk disk, string directory, Guid volumeId, long number)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        var path = PathOf(directory, number);
        using var file = disk.TryOpen(path, writable: false);
        var length = file?.Read(sector, 0) ?? 0;
        if (!sector[..length].ContainsAnyExcept((byte)0))
            return null;
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
}
