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
        var sector = new byte[SegmentHeader.Size];
        foreach (var number in Numbers(directory))
        {
            var path = PathOf(directory, number);
            if (!TryReadSector(path, sector, out var length))
                continue;
            var header = SegmentHeader.TryRead(sector.AsSpan(0, length), out var fault);
            if (header is null && !sector.AsSpan(0, length).ContainsAnyExcept((byte)0))
                continue;
            if (header is null)
                throw new CorruptionException(path, 0, fault);
            if (header.Value.VolumeId != volumeId || header.Value.Number != number)
                throw new CorruptionException(
                    path, 8, $"it is segment {header.Value.Number} of volume {header.Value.VolumeId}");
            headers.Add(header.Value);
        }

        return headers;
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
