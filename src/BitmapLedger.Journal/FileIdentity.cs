namespace BitmapLedger.Journal;

/// <summary>What tells whether somebody else wrote to the data while its volume was closed.</summary>
/// <param name="Device">Device of the file.</param>
/// <param name="Inode">Number of the file on its device; 0 when nothing can be told, as of a block device.</param>
/// <param name="Size">Length in bytes.</param>
/// <param name="ChangedNanoseconds">When it was last changed, nanoseconds since the Unix epoch.</param>
public readonly record struct FileIdentity(long Device, long Inode, long Size, long ChangedNanoseconds)
{
    /// <summary>Whether another identity tells of a change.</summary>
    public bool IsOtherThan(in FileIdentity now) => Inode != 0 && now.Inode != 0 && this != now;
}
