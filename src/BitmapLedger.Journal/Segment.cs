namespace BitmapLedger.Journal;

/// <summary>The segment that is being written, or one prepared for later.</summary>
internal sealed class Segment : IDisposable
{
    private const int ZeroesBytes = 1 << 20;
    private static readonly byte[] _zeroes = new byte[ZeroesBytes];

    private Segment(long number, string path, IJournalFile file)
    {
        Number = number;
        Path = path;
        File = file;
    }

    public long Number { get; }

    public string Path { get; }

    public IJournalFile File { get; }


    /// <summary>
    /// Allocates the file, zeroed, with a header sector of zeroes: a segment that holds nothing yet. Under durability
    /// <c>power</c>
    /// zeroes are written and all of it synced, so that later syncs have no metadata to write.
    /// </summary>
    public static Segment Prepare(JournalOptions options, long number)
    {
        var path = SegmentFiles.PathOf(options.Directory, number);
        options.Disk.Delete(path);
        var file = options.Disk.Create(path);
        try
        {
            file.Allocate(options.SegmentBytes);
            if (options.Durability == JournalDurability.Power)
            {
                for (var at = 0; at < options.SegmentBytes; at += ZeroesBytes)
                    file.Write(_zeroes.AsSpan(0, Math.Min(ZeroesBytes, options.SegmentBytes - at)), at);
                file.Sync();
                options.Disk.SyncDirectory(options.Directory);
            }

            return new(number, path, file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public static Segment Continue(JournalOptions options, long number)
    {
        var path = SegmentFiles.PathOf(options.Directory, number);
        return new(number, path, options.Disk.TryOpen(path, writable: true) ?? throw new IOException($"'{path}' is gone"));
    }

    public void WriteHeader(in SegmentHeader header)
    {
        Span<byte> sector = stackalloc byte[SegmentHeader.Size];
        header.Write(sector);
        File.Write(sector, 0);
    }

    public void Dispose() => File.Dispose();
}
