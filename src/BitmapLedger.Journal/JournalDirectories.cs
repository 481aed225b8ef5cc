namespace BitmapLedger.Journal;

/// <summary>What is done to a closed journal as a whole.</summary>
public static class JournalDirectories
{
    /// <summary>
    /// Begins a new journal behind one whose segments cannot be used. What does not stand in segments goes on: LSNs that were
    /// given, and what a crash may have touched.
    /// </summary>
    /// <param name="aside">Directory of the old journal.</param>
    /// <param name="directory">Directory of the new one; made.</param>
    public static void GoOn(string aside, string directory)
    {
        Directory.CreateDirectory(directory);
        foreach (var file in new[] { "boot", "ceiling", "activity", "recovered" })
            if (File.Exists(Path.Combine(aside, file)))
                File.Copy(Path.Combine(aside, file), Path.Combine(directory, file));
        File.Create(Path.Combine(directory, JournalOpening.SetAsideMark)).Dispose();
        PosixDisk.Instance.SyncDirectory(directory);
    }
}
