namespace BitmapLedger.Journal.Tests;

/// <summary>The machine's file systems, of which something hears of each change before it is done, and may prevent it.</summary>
internal abstract class ChangedDisk : IJournalDisk
{
    private readonly PosixDisk _disk = PosixDisk.Instance;

    /// <summary>Files that are open now.</summary>
    public int OpenFiles { get; private set; }

    public int PageBytes => _disk.PageBytes;

    public void CreateDirectory(string directory) => _disk.CreateDirectory(directory);

    public IReadOnlyList<string> Names(string directory) => _disk.Names(directory);

    public IJournalFile? TryOpen(string path, bool writable) =>
        _disk.TryOpen(path, writable) is { } file ? new ChangedFile(this, file) : null;

    public IJournalFile Create(string path)
    {
        Change();
        return new ChangedFile(this, _disk.Create(path));
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

    public void SyncDirectory(string directory)
    {
        Sync();
        _disk.SyncDirectory(directory);
    }

    public virtual bool HasForgotten(string directory) => _disk.HasForgotten(directory);

    public virtual bool CanRead(string directory) => _disk.CanRead(directory);

    /// <summary>A name or bytes are about to change.</summary>
    protected abstract void Change();

    /// <summary>Something is about to be made durable.</summary>
    protected virtual void Sync()
    {
    }

    private sealed class ChangedFile : IJournalFile
    {
        private readonly ChangedDisk _disk;
        private readonly IJournalFile _file;
        private bool _isClosed;

        public ChangedFile(ChangedDisk disk, IJournalFile file)
        {
            (_disk, _file) = (disk, file);
            disk.OpenFiles++;
        }

        public long Length => _file.Length;

        public void Allocate(long length)
        {
            _disk.Change();
            _file.Allocate(length);
        }

        public int Read(Span<byte> target, long offset) => _file.Read(target, offset);

        public void Write(ReadOnlySpan<byte> source, long offset)
        {
            _disk.Change();
            _file.Write(source, offset);
        }

        public void Sync()
        {
            _disk.Sync();
            _file.Sync();
        }

        public void Dispose()
        {
            _disk.OpenFiles -= _isClosed ? 0 : 1;
            _isClosed = true;
            _file.Dispose();
        }
    }
}
