namespace BitmapLedger.Journal;

/// <summary>What is done to a closed journal as a whole.</summary>
public static class JournalDirectories
{
    /// <summary>What does not stand in segments: LSNs that were given, what a crash may have touched, what is to be told.</summary>
    private static readonly Func<string, string>[] _goesOn =
        [BootState.PathIn, LsnCeiling.PathIn, ActivityFile.PathIn, RecoveredWrites.PathIn, FlushNote.PathIn];

    /// <summary>
    /// Sets a journal aside of which something cannot be used, and begins a new one in its place. A crash at any point leaves the
    /// old one, or the new one once <see cref="Finish"/> was called; the new one has all of what goes on and is whole. What of
    /// it is not makes the new one say the least that there is to say.
    /// </summary>
    /// <param name="disk">Where the journal is.</param>
    /// <param name="directory">Its directory; the old journal lies beside it afterwards, numbered.</param>
    /// <param name="volumeId">Whose journal it is.</param>
    /// <param name="lastLsn">The last LSN that the ledger knows of: it has all that can be read, and what is lost.</param>
    public static void SetAside(IJournalDisk disk, string directory, Guid volumeId, long lastLsn)
    {
        var (parent, next) = (Path.GetDirectoryName(directory)!, Next(directory));
        foreach (var name in disk.Names(next))
            disk.Delete(Path.Combine(next, name));
        disk.CreateDirectory(next);
        var damage = new JournalSurvey(directory, volumeId, disk).Read().OfType<JournalStretch.Damaged>().ToList();
        var damaged = damage.Where(d => !d.HoldsRecords).Select(d => d.File).ToList();
        foreach (var path in _goesOn.Select(p => p(directory)).Except(damaged))
            Copy(disk, path, Path.Combine(next, Path.GetFileName(path)));
        if (damaged.Contains(LsnCeiling.PathIn(directory)))
            LsnCeiling.Replace(disk, next, Math.Max(lastLsn, FloorLsn(disk, next)));
        // Nobody knows which LSNs stood in a stretch that nothing follows.
        if (damage.Exists(d => d.ToLsn is null))
            BootState.RaiseFloor(disk, next, LsnCeiling.Read(disk, next, ahead: 0).Value);
        using (var mark = disk.Create(Path.Combine(next, JournalOpening.SetAsideMark)))
            mark.Sync();
        disk.SyncDirectory(next);
        // The new one's name is there before the old one's goes.
        disk.SyncDirectory(parent);
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

    /// <summary>What the last run but one had already gone on above, where that can be read.</summary>
    private static long FloorLsn(IJournalDisk disk, string directory) =>
        BootState.Read(disk, directory, bootId: "", mounts: 0).FloorLsn;

    private static string Next(string directory) => directory + ".next";

    private static string Aside(string directory, int number) => $"{directory}.damaged-{number}";

    private static void Copy(IJournalDisk disk, string from, string to)
    {
        using var source = disk.TryOpen(from, writable: false);
        if (source is null)
            return;
        var bytes = new byte[source.Length];
        var length = source.Read(bytes, 0);
        using var copy = disk.Create(to);
        copy.Write(bytes.AsSpan(0, length), 0);
        copy.Sync();
    }
}
