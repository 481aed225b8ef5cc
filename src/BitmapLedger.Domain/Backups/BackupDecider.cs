using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>Decides what backup jobs make of bitmaps: QEMU's argument checks, and rules 3 to 6 of spec/qmp.md.</summary>
internal static class BackupDecider
{
    private const string Incremental = "incremental";
    private const string Differential = "differential";
    private const string Partial = "partial";

    public static Refusal? RefuseStart(VolumeCommand.StartBackup start, DecidingVolume volume)
    {
        if (volume.State.Backup(start.Job) is not null)
            return Refusal.Exists($"Job ID '{start.Job}' already in use");
        if (start.Sync is not ("full" or "top" or "none" or Incremental or "bitmap" or Differential or Partial))
            return Refusal.BadArgument($"Parameter 'sync' does not accept value '{start.Sync}'");
        if (start.Mode is not (null or BackupModes.OnSuccess or BackupModes.Never or BackupModes.Always))
            return Refusal.BadArgument($"Parameter 'bitmap-mode' does not accept value '{start.Mode}'");
        if (start.Sync is Incremental or "bitmap" or Differential or Partial && start.Bitmaps.Count == 0)
            return Refusal.BadArgument($"must provide a valid bitmap name for '{start.Sync}' sync mode");
        if (Implied(start.Sync) is { } implied && start.Mode is not null && start.Mode != implied)
            return Refusal.BadArgument($"Bitmap sync mode must be '{implied}' when using sync mode '{start.Sync}'");
        foreach (var name in start.Bitmaps)
            if (RefuseBitmap(name, start, volume) is { } refusal)
                return refusal;
        if (start.Bitmaps.Count == 0 && start.Mode is not null)
            return Refusal.BadArgument("Cannot specify bitmap sync mode without a bitmap");
        return RefuseSlice(start, volume.State);
    }

    public static BackupStarted Start(VolumeCommand.StartBackup start, VolumeState state, long atLsn)
    {
        BitmapState[] banking =
        [
            .. start.Bitmaps.Distinct(StringComparer.Ordinal).Select(n => state.Bitmap(n)!)
                .Where(b => start.Sync == Incremental && b.Retention > 0),
        ];
        return new(
            start.Job, start.Sync, Mode(start), [.. start.Bitmaps.Distinct(StringComparer.Ordinal)], start.Slice,
            [.. banking.Select(b => new SliceName(b.Name, b.NextSlice))],
            [.. banking.SelectMany(b => SliceDecider.Drops(b, b.Retention - 1))], atLsn);
    }

    public static Refusal? RefuseEnd(VolumeCommand.EndBackup end, VolumeState state) =>
        state.Backup(end.Job) is null ? Refusal.NotFound("Job not found", $"no job '{end.Job}' runs on volume '{state.Name}'") : null;

    public static IEnumerable<IVolumeEvent> End(VolumeCommand.EndBackup end, VolumeState state, long atLsn)
    {
        var job = state.Backup(end.Job)!;
        return end.Outcome switch
        {
            BackupOutcome.Failed failed => [new BackupFailed(end.Job, failed.Why, failed.Left, atLsn)],
            BackupOutcome.Cancelled cancelled => [new BackupCancelled(end.Job, cancelled.Left, atLsn)],
            _ =>
            [
                .. job.Drops.Select(d => new SliceDropped(d.Bitmap, d.Slice, atLsn)),
                .. job.Banks.Select(b => new SliceBanked(b.Bitmap, b.Slice, Causes.Backup, atLsn)),
                .. job.Bitmaps.Where(b => job.Resets && state.Bitmap(b)!.NextSlice > 0).Select(b => new SlicesReset(b, atLsn)),
                new BackupCompleted(end.Job, atLsn),
            ],
        };
    }

    /// <summary>All jobs of a volume fail, and give every bit back: what they have copied is not known any more.</summary>
    public static IEnumerable<IVolumeEvent> EndAll(VolumeState state, string why, long atLsn) =>
        state.Backups.Select(b => new BackupFailed(b.Job, why, Left: null, atLsn));

    private static Refusal? RefuseBitmap(string name, VolumeCommand.StartBackup start, DecidingVolume volume)
    {
        if (volume.Bitmap(name) is not { } bitmap)
            return Refusal.NotFound($"Bitmap '{name}' could not be found");
        if (Mode(start) is not { } mode)
            return Refusal.BadArgument("Bitmap sync mode must be given when providing a bitmap");
        if (volume.IsBusy(bitmap) && (BackupState.Changing(mode) || !bitmap.Busy))
            return BitmapRefusals.Busy(name);
        if (BitmapRefusals.Inconsistent(bitmap) is { } inconsistent)
            return inconsistent;
        if (start.Sync == "none")
            return Refusal.BadArgument($"sync mode '{start.Sync}' does not produce meaningful bitmap outputs");
        if (mode == BackupModes.Never && start.Sync is "full" or "top")
            return Refusal.BadArgument(
                $"Bitmap sync mode '{mode}' has no meaningful effect when combined with sync mode '{start.Sync}'");
        return start.Sync == Incremental && bitmap.Retention > 0 ? SliceDecider.RefuseRoom(bitmap, start.ForceCycle) : null;
    }

    /// <summary>A partial backup wants its slices to be there, and to stay until it ends.</summary>
    private static Refusal? RefuseSlice(VolumeCommand.StartBackup start, VolumeState state)
    {
        if (start.Sync != Partial)
            return start.Slice is null ? null : Refusal.BadArgument($"Parameter 'slice' is unexpected with sync mode '{start.Sync}'");
        if (start.Slice is not { } slice)
            return Refusal.BadArgument("Parameter 'slice' is missing", "a partial backup begins at one");
        foreach (var name in start.Bitmaps)
        {
            if (state.Bitmap(name)!.Slice(slice) is null)
                return SliceDecider.NotFound(name, slice);
            if (state.Backups.FirstOrDefault(b => Takes(b, name, slice)) is { } taking)
                return BitmapRefusals.Busy(name, $"job '{taking.Job}' will drop slice {slice} when it succeeds");
        }

        return null;
    }

    private static bool Takes(BackupState job, string bitmap, long slice) => job.Bitmaps.Contains(bitmap)
        && (job.Resets || job.Drops.Any(d => d.Bitmap == bitmap && d.Slice >= slice));

    private static string? Implied(string sync) => sync switch
    {
        Incremental => BackupModes.OnSuccess,
        Differential or Partial => BackupModes.Never,
        _ => null,
    };

    private static string? Mode(VolumeCommand.StartBackup start) => Implied(start.Sync) ?? start.Mode;
}
