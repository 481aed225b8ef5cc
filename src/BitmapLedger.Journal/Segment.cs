using Microsoft.Win32.SafeHandles;

namespace BitmapLedger.Journal;

/// <summary>The segment that is being written, or one prepared for later.</summary>
internal sealed class Segment : IDisposable
{
    private Segment(long number, string path, SafeFileHandle file)
    {
        Number = number;
        Path = path;
        File = file;
    }

    public long Number { get; }

    public string Path { get; }

    public SafeFileHandle File { get; }

    /// <summary>Allocates the file, zeroed, with a header sector of zeroes: a segment that holds nothing yet.</summary>
    public static Segment Prepare(string directory, long number, long lengthBytes)
    {
        var path = SegmentFiles.PathOf(directory, number);
        System.IO.File.Delete(path);
        var file = System.IO.File.OpenHandle(
            path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete,
            FileOptions.None, preallocationSize: lengthBytes);
        try
        {
            // The length, not only the space: readers map the end of the file to the end of the journal.
            RandomAccess.SetLength(file, lengthBytes);
            return new(number, path, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public static Segment Continue(string directory, long number)
    {
        var path = SegmentFiles.PathOf(directory, number);
        return new(number, path, System.IO.File.OpenHandle(
            path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete));
    }

    public void WriteHeader(in SegmentHeader header)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        header.Write(sector);
        RandomAccess.Write(File, sector, 0);
    }

    public void Dispose() => File.Dispose();
}
