using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>The files of a journal beside its segments: how it stands, in a few bytes each. Layout: FORMAT.md.</summary>
internal static class SmallFiles
{
    /// <summary>Looks at each; changes nothing. The journal may be in use meanwhile.</summary>
    /// <returns>The damaged ones; none when all are well, or not there.</returns>
    /// <exception cref="FormatVersionException">A later program wrote one: nobody here knows whether it is whole.</exception>
    /// <exception cref="IOException">The disk reads nothing at all.</exception>
    public static List<CorruptionException> FindDamage(IJournalDisk disk, string directory, Guid volumeId)
    {
        List<CorruptionException> damage = [];
        Look(() => _ = BootState.Read(disk, directory, bootId: "", mounts: 0));
        Look(() => _ = LsnCeiling.Read(disk, directory, ahead: 0));
        Look(() => _ = RecoveredWrites.Read(disk, directory));
        Look(() => ActivityFile.Check(disk, directory, volumeId));
        Look(() => FlushNote.Check(disk, directory));
        return damage;

        void Look(Action look)
        {
            try
            {
                look();
            }
            catch (CorruptionException found)
            {
                damage.Add(found);
            }
        }
    }
}
