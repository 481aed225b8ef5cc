using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// The bytes of a segment, or of another file of a journal, also of one that its disk does not give whole. A place that cannot be read is damage like any
/// other while the disk reads at all; one that reads nothing tells nothing of what is on it.
/// </summary>
internal sealed class SegmentBytes
{
    /// <summary>What is wrong with a place that cannot be read, in words.</summary>
    public const string Fault = "the disk cannot read it";

    private readonly List<(int From, int End)> _unreadable = [];

    private SegmentBytes(byte[] bytes) => Bytes = bytes;

    /// <summary>The bytes; zeroes where none could be read.</summary>
    public byte[] Bytes { get; private set; }

    /// <summary>Reads a segment; null when it is not there.</summary>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static SegmentBytes? TryRead(IJournalDisk disk, string path)
    {
        using var file = disk.TryOpen(path, writable: false);
        if (file is null)
            return null;
        var read = new SegmentBytes(new byte[file.Length]);
        try
        {
            var length = file.Read(read.Bytes, 0);
            read.Bytes = length == read.Bytes.Length ? read.Bytes : read.Bytes[..length];
        }
        catch (IOException refusal)
        {
            if (Refusal(disk, path, 0, refusal) is IOException dead)
                throw dead;
            read.ReadHalves(disk, file, 0, read.Bytes.Length);
        }

        return read;
    }

    /// <summary>Reads a file that must be readable from its first byte to its last.</summary>
    /// <returns>Null when it is not there.</returns>
    /// <exception cref="CorruptionException">A place of it cannot be read.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static byte[]? TryReadWhole(IJournalDisk disk, string path)
    {
        var read = TryRead(disk, path);
        return read is { _unreadable: [var first, ..] } ? throw new CorruptionException(path, first.From, Fault) : read?.Bytes;
    }

    /// <summary>Reads from a place on, up to the next one that cannot be read.</summary>
    /// <param name="disk">Where the segment is.</param>
    /// <param name="path">Its path.</param>
    /// <param name="file">The segment.</param>
    /// <param name="target">Receives the bytes.</param>
    /// <param name="offset">Where to begin.</param>
    /// <exception cref="CorruptionException">Nothing can be read there.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static int ReadBefore(IJournalDisk disk, string path, IJournalFile file, Span<byte> target, long offset)
    {
        try
        {
            return file.Read(target, offset);
        }
        catch (IOException)
        {
            var done = 0;
            while (done < target.Length)
            {
                var page = target.Slice(done, (int)Math.Min(target.Length - done, disk.PageBytes - (offset + done) % disk.PageBytes));
                try
                {
                    var read = file.Read(page, offset + done);
                    done += read;
                    if (read < page.Length)
                        break;
                }
                catch (IOException refusal)
                {
                    return done > 0 ? done : throw Refusal(disk, path, offset, refusal);
                }
            }

            return done;
        }
    }

    /// <summary>Whether nothing could be read at a place.</summary>
    public bool IsUnreadable(int offset) => _unreadable.Exists(u => u.From <= offset && offset < u.End);

    /// <summary>Reads what can be read: what a read refuses is asked for again in halves, down to a page. A bad page costs some
    /// twenty reads, and not one for each page of the segment.</summary>
    private void ReadHalves(IJournalDisk disk, IJournalFile file, int from, int end)
    {
        var pages = (end - from + disk.PageBytes - 1) / disk.PageBytes;
        var middle = from + (pages / 2 * disk.PageBytes);
        ReadPart(disk, file, from, middle);
        ReadPart(disk, file, middle, end);
    }

    private void ReadPart(IJournalDisk disk, IJournalFile file, int from, int end)
    {
        if (from == end)
            return;
        try
        {
            _ = file.Read(Bytes.AsSpan(from, end - from), from);
        }
        catch (IOException) when (end - from > disk.PageBytes)
        {
            ReadHalves(disk, file, from, end);
        }
        catch (IOException)
        {
            Bytes.AsSpan(from, end - from).Clear();
            _unreadable.Add((from, end));
        }
    }

    /// <summary>What it means that a read failed.</summary>
    private static Exception Refusal(IJournalDisk disk, string path, long offset, IOException refusal) =>
        disk.CanRead(Path.GetDirectoryName(path)!)
            ? new CorruptionException(path, offset, Fault)
            : new IOException($"{path} cannot be read, and its disk gives back nothing else either: {refusal.Message}", refusal);
}
