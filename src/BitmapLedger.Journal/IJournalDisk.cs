namespace BitmapLedger.Journal;

/// <summary>
/// The file operations that a journal stands on, so that a test can be the disk: <see cref="PosixDisk"/> is the real
/// one. What is written is durable only once it was synced, and a name only once its directory was.
/// </summary>
/// <remarks>Any number of threads. Every failure is an <see cref="IOException"/>, or an
/// <see cref="UnauthorizedAccessException"/> where the system says so.</remarks>
public interface IJournalDisk
{
    /// <summary>Bytes that are read at once: where one of them cannot be, none can.</summary>
    int PageBytes { get; }

    /// <summary>Makes a directory, its parents too, unless it is there.</summary>
    void CreateDirectory(string directory);

    /// <summary>Names of the files of a directory, in no order; none when it is not there.</summary>
    IReadOnlyList<string> Names(string directory);

    /// <summary>Opens a file for reading and writing, or only for reading.</summary>
    /// <returns>Null when it is not there.</returns>
    IJournalFile? TryOpen(string path, bool writable);

    /// <summary>Makes an empty file, in place of one that is there.</summary>
    IJournalFile Create(string path);

    /// <summary>Gives a file another name, in place of one that is there, or a directory with all that is in it. Never in
    /// part.</summary>
    void Move(string from, string to);

    /// <summary>Deletes a file; one that is not there is no error.</summary>
    void Delete(string path);

    /// <summary>Makes the names of a directory durable: files made, moved and deleted.</summary>
    void SyncDirectory(string directory);

    /// <summary>Whether the system has forgotten, since it was asked last, something that was written to the file system
    /// of a directory and that the disk then refused. Writes all of it out first.</summary>
    bool HasForgotten(string directory);

    /// <summary>Whether the disk of a directory reads at all: what is written to it now comes back from it, and not only from
    /// memory; or something that was there already does, where it takes nothing.</summary>
    bool CanRead(string directory);
}

/// <summary>An open file of a journal. Reading and writing allocate nothing.</summary>
public interface IJournalFile : IDisposable
{
    /// <summary>Length in bytes.</summary>
    long Length { get; }

    /// <summary>Makes the file that long, with room on the disk; what is new reads as zeroes.</summary>
    void Allocate(long length);

    /// <summary>Reads from a place on; fewer bytes only at the end of the file. Where one of them cannot be read it
    /// fails.</summary>
    int Read(Span<byte> target, long offset);

    /// <summary>Writes all of it; where that fails some may have been written.</summary>
    void Write(ReadOnlySpan<byte> source, long offset);

    /// <summary>
    /// Makes what was written, and the length, durable. Where that fails nothing that was not synced before may be
    /// believed
    /// to be on the disk, and another call does not help: the system has forgotten what it could not write.
    /// </summary>
    void Sync();
}
