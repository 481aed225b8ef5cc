using System.Globalization;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>The segment files of a journal's directory.</summary>
internal static class SegmentFiles
{
    /// <summary>Numbers of the segments that are there, ascending.</summary>
    public static List<long> Numbers(string directory)
    {
        List<long> numbers = [];
        if (!Directory.Exists(directory))
            return numbers;
        foreach (var file in Directory.EnumerateFiles(directory, "*.seg"))
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
    public static List<SegmentHeader> Headers(string directory, Guid volumeId)
    {
        List<SegmentHeader> headers = [];
        foreach (var number in Numbers(directory))
            if (Header(directory, volumeId, number) is { } header)
                headers.Add(header);
        return headers;
    }

    /// <summary>The header of one segment; null when it is not there, or was only prepared.</summary>
    /// <exception cref="CorruptionException">It is damaged, or belongs to another volume.</exception>
    public static SegmentHeader? Header(string directory, Guid volumeId, long number)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        var path = PathOf(directory, number);
        if (!TryReadSector(path, sector, out var length) || !sector[..length].ContainsAnyExcept((byte)0))
            return null;
        var header = SegmentHeader.TryRead(sector[..length], out var fault)
            ?? throw new CorruptionException(path, 0, fault);
        return header.VolumeId == volumeId && header.Number == number
            ? header
            : throw new CorruptionException(path, 8, $"it is segment {header.Number} of volume {header.VolumeId}");
    }

    /// <summary>False when the segment was freed meanwhile.</summary>
    private static bool TryReadSector(string path, Span<byte> sector, out int length)
    {
        length = 0;
        try
        {
            using var file = File.OpenHandle(
                path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            length = RandomAccess.Read(file, sector, 0);
            return true;
        }
        catch (FileNotFoundException)
        {
            return false;
        }
    }
}
