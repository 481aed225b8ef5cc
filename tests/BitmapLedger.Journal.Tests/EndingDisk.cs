namespace BitmapLedger.Journal.Tests;

/// <summary>The machine's file systems, whose process is killed after so many changes.</summary>
/// <param name="changes">How many are still done.</param>
internal sealed class EndingDisk(int changes) : IJournalDisk
{
    private readonly PosixDisk _disk = PosixDisk.Instance;
    private int _left = changes;

    public int PageBytes => _disk.PageBytes;

    /// <summary>Whether it was killed.</summary>
    public bool HasEnded { get; private set; }

    public void CreateDirectory(string directory) => _disk.CreateDirectory(directory);

    public IReadOnlyList<string> Names(string directory) => _disk.Names(directory);

    public IJournalFile? TryOpen(string path, bool writable) =>
        _disk.TryOpen(path, writable) is { } file ? new EndingFile(this, file) : null;

    public IJournalFile Create(string path)
    {
        Change();
        return new EndingFile(this, _disk.Create(path));
    }

    public void Move(string from, string to)
    {
        Change();
        _disk.Move(from, to);
    }

    public void Delete(string path)
    {
        Change();
        _disk.Delete(path);
    }

    public void SyncDirectory(string directory) => _disk.SyncDirectory(directory);

    public bool HasForgotten(string directory) => _disk.HasForgotten(directory);

    public bool CanRead(string directory) => _disk.CanRead(directory);

    private void Change()
    {
        HasEnded |= _left-- <= 0;
        if (HasEnded)
            throw new OperationCanceledException("killed");
    }

    private sealed class EndingFile(EndingDisk disk, IJournalFile file) : IJournalFile
    {
        public long Length => file.Length;

        public void Allocate(long length)
        {
            disk.Change();
            file.Allocate(length);
        }

        public int Read(Span<byte> target, long offset) => file.Read(target, offset);

        public void Write(ReadOnlySpan<byte> source, long offset)
        {
            disk.Change();
            file.Write(source, offset);
        }

        public void Sync() => file.Sync();

        public void Dispose() => file.Dispose();
    }
}
