namespace BitmapLedger.Journal.Tests;

/// <summary>The machine's file systems, but for places that cannot be read.</summary>
internal sealed class UnreadableDisk : IJournalDisk
{
    public const int Page = 512;

    private readonly PosixDisk _disk = PosixDisk.Instance;
    private readonly HashSet<(string Path, long Page)> _pages = [];

    /// <summary>Whether nothing at all can be read.</summary>
    public bool IsDead { get; set; }

    /// <summary>How many times it was asked for bytes.</summary>
    public int Reads { get; private set; }

    public int PageBytes => Page;

    /// <summary>From now on some pages of a file cannot be read.</summary>
    public void Spoil(string path, int fromPage, int pages)
    {
        for (var page = fromPage; page < fromPage + pages; page++)
            _pages.Add((path, page));
    }

    public void CreateDirectory(string directory) => _disk.CreateDirectory(directory);

    public IReadOnlyList<string> Names(string directory) => _disk.Names(directory);

    public IJournalFile? TryOpen(string path, bool writable) =>
        _disk.TryOpen(path, writable) is { } file ? new UnreadableFile(this, path, file) : null;

    public IJournalFile Create(string path) => _disk.Create(path);

    public void Move(string from, string to)
    {
        _disk.Move(from, to);
        // Another file lies elsewhere on the disk.
        _pages.RemoveWhere(p => p.Path == to);
    }

    public void Delete(string path) => _disk.Delete(path);

    public void SyncDirectory(string directory) => _disk.SyncDirectory(directory);

    public bool HasForgotten(string directory) => _disk.HasForgotten(directory);

    public bool CanRead(string directory) => !IsDead && _disk.CanRead(directory);

    private void RequireReadable(string path, long offset, int length)
    {
        Reads++;
        if (IsDead)
            throw new IOException("Input/output error");
        for (var page = offset / Page; page * Page < offset + length; page++)
            if (_pages.Contains((path, page)))
                throw new IOException("Input/output error");
    }

    private sealed class UnreadableFile(UnreadableDisk disk, string path, IJournalFile file) : IJournalFile
    {
        public long Length => file.Length;

        public void Allocate(long length) => file.Allocate(length);

        public int Read(Span<byte> target, long offset)
        {
            disk.RequireReadable(path, offset, (int)Math.Clamp(Length - offset, 0, target.Length));
            return file.Read(target, offset);
        }

        public void Write(ReadOnlySpan<byte> source, long offset)
        {
            // No page is written in part that was not read before.
            disk.RequireReadable(path, offset, source.Length);
            file.Write(source, offset);
        }

        public void Sync() => file.Sync();

        public void Dispose() => file.Dispose();
    }
}
