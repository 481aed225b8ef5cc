namespace BitmapLedger.Journal;

/// <summary>What is done to a closed journal as a whole.</summary>
public static class JournalDirectories
{
    /// <summary>What does not stand in segments: LSNs that were given, what a crash may have touched, what is to be told.</summary>
    private static readonly string[] _goesOn = ["boot", "ceiling", "activity", "recovered"];

    /// <summary>
    /// Sets a journal aside whose segments cannot be used, and begins a new one in its place. A crash at any point leaves the
    /// old one, or the new one once <see cref="Finish"/> was called; the new one has all of what goes on.
    /// </summary>
    /// <param name="disk">Where the journal is.</param>
    /// <param name="directory">Its directory; the old journal lies beside it afterwards, numbered.</param>
    public static void SetAside(IJournalDisk disk, string directory)
    {
        var (parent, next) = (Path.GetDirectoryName(directory)!, Next(directory));
        foreach (var name in disk.Names(next))
            disk.Delete(Path.Combine(next, name));
        disk.CreateDirectory(next);
        foreach (var name in disk.Names(directory).Intersect(_goesOn))
            Copy(disk, Path.Combine(directory, name), Path.Combine(next, name));
        using (var mark = disk.Create(Path.Combine(next, JournalOpening.SetAsideMark)))
            mark.Sync();
        disk.SyncDirectory(next);
        var number = 1;
        while (disk.Names(Aside(directory, number)).Count > 0)
            number++;
        disk.Move(directory, Aside(directory, number));
        // The old one must not be there any more when the new one comes.
        disk.SyncDirectory(parent);
        Finish(disk, directory);
    }

    /// <summary>A new journal takes the place of one that was set aside, where a crash came between.</summary>
    /// <param name="disk">Where the journal is.</param>
    /// <param name="directory">Its directory.</param>
    public static void Finish(IJournalDisk disk, string directory)
    {
        if (disk.Names(directory).Count > 0 || disk.Names(Next(directory)).Count == 0)
            return;
        disk.Move(Next(directory), directory);
        disk.SyncDirectory(Path.GetDirectoryName(directory)!);
    }

    private static string Next(string directory) => directory + ".next";

    private static string Aside(string directory, int number) => $"{directory}.damaged-{number}";

    private static void Copy(IJournalDisk disk, string from, string to)
    {
        using var source = disk.TryOpen(from, writable: false) ?? throw new FileNotFoundException("the file is gone", from);
        var bytes = new byte[source.Length];
        var length = source.Read(bytes, 0);
        using var copy = disk.Create(to);
        copy.Write(bytes.AsSpan(0, length), 0);
        copy.Sync();
    }
}
