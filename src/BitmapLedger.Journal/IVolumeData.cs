namespace BitmapLedger.Journal;

/// <summary>What a recovery asks of the data that a journal describes.</summary>
public interface IVolumeData
{
    /// <summary>
    /// Whether the system has forgotten, since it was asked last, something that was written and that the disk then
    /// refused: told here although a process that is gone was told too. It asks the whole file system, so true may
    /// mean another file; where nobody says, false.
    /// </summary>
    bool HasForgotten();

    /// <summary>Forgets what is in memory and was refused by the disk, so that reads show what is on it.</summary>
    void ForgetUnwritten();
}
