using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>Decides commands. Pure: same commands, same state, same place, same answer.</summary>
public static class VolumeDecider
{
    /// <summary>Most checkpoints of a volume: a bound, not a cost; each is a name for a position.</summary>
    public const int CheckpointsMax = 100_000;

    /// <summary>Most bitmaps of a volume, as many as an image of QEMU's can hold (65,535).</summary>
    public const int BitmapsMax = 65_535;

    private const int SectorBytes = 512;

    /// <summary>Decides several commands to one volume as one: later ones see earlier ones, and a refusal refuses
    /// all.</summary>
    /// <param name="commands">What is wanted, in order; nothing of other volumes.</param>
    /// <param name="state">The volume before.</param>
    /// <param name="atLsn">LSN that the events stand after.</param>
    /// <param name="now">When they happen.</param>
    public static Decision Decide(
        IReadOnlyList<VolumeCommand> commands, VolumeState state, long atLsn, DateTimeOffset now)
    {
        var decision = TransactionDecider.Decide(
            [.. commands.Select(c => new VolumeAction(state.Id, c))], [new(state, atLsn, now)]);
        var only = decision.Volumes[0];
        return new(only.Events, only.After, decision.Refusal);
    }

    internal static Refusal? Refuse(VolumeCommand command, DecidingVolume volume, Deciding volumes) => command switch
    {
        VolumeCommand.AddBitmap c => BitmapDecider.RefuseAdd(c.Name, c.Granularity, volume),
        VolumeCommand.ImportBitmap c => BitmapDecider.RefuseImport(c, volume),
        VolumeCommand.RemoveBitmap c => BitmapRefusals.Remove(c.Name, volume),
        VolumeCommand.ClearBitmap c => BitmapRefusals.Modify(c.Name, volume),
        VolumeCommand.EnableBitmap c => BitmapRefusals.Use(c.Name, volume),
        VolumeCommand.DisableBitmap c => BitmapRefusals.Use(c.Name, volume),
        VolumeCommand.MergeBitmap c => BitmapDecider.RefuseMerge(c, volume, volumes),
        VolumeCommand.SetRetention c => SliceDecider.RefuseRetention(c, volume),
        VolumeCommand.BankSlice c => SliceDecider.RefuseBank(c.Bitmap, c.ForceCycle, volume),
        VolumeCommand.DeleteSlice c => SliceDecider.RefuseDelete(c, volume),
        VolumeCommand.ResetSlices c => BitmapRefusals.Modify(c.Bitmap, volume),
        VolumeCommand.StartBackup c => BackupDecider.RefuseStart(c, volume),
        VolumeCommand.EndBackup c => BackupDecider.RefuseEnd(c, volume.State),
        VolumeCommand.CreateCheckpoint c => RefuseCheckpoint(c.Name, volume.State),
        VolumeCommand.DeleteCheckpoint c => volume.State.Checkpoint(c.Name) is null
            ? Refusal.NotFound($"Checkpoint '{c.Name}' of volume '{volume.State.Name}' not found")
            : null,
        VolumeCommand.ResizeVolume c => RefuseResize(c.Size, volume),
        _ => null,
    };

    internal static IEnumerable<IVolumeEvent> Happen(VolumeCommand command, DecidingVolume volume, Deciding volumes)
    {
        var (state, atLsn) = (volume.State, volume.Place.AtLsn);
        return command switch
        {
            VolumeCommand.AddBitmap c =>
                [new BitmapAdded(c.Name, c.Granularity ?? Granularity.Default.Bytes, c.Disabled, c.Persistent, atLsn) { Run = volume.Place.Run }],
            VolumeCommand.ImportBitmap c => [new BitmapImported(c.Name, c.Granularity, c.Flags, c.Bits, c.Origin, atLsn)],
            VolumeCommand.RemoveBitmap c => [new BitmapRemoved(c.Name, Causes.Command, atLsn)],
            VolumeCommand.ClearBitmap c => [new BitmapCleared(c.Name, atLsn)],
            VolumeCommand.EnableBitmap c => [new BitmapEnabled(c.Name, atLsn)],
            VolumeCommand.DisableBitmap c => [new BitmapDisabled(c.Name, atLsn)],
            VolumeCommand.MergeBitmap c => BitmapDecider.Merge(c, volume, volumes),
            VolumeCommand.SetRetention c => SliceDecider.SetRetention(c, state, atLsn),
            VolumeCommand.BankSlice c => SliceDecider.Bank(c.Bitmap, state, atLsn),
            VolumeCommand.DeleteSlice c => [new SliceDeleted(c.Bitmap, c.Slice, atLsn)],
            VolumeCommand.ResetSlices c => [new SlicesReset(c.Bitmap, atLsn)],
            VolumeCommand.StartBackup c => [BackupDecider.Start(c, state, atLsn)],
            VolumeCommand.EndBackup c => BackupDecider.End(c, state, atLsn),
            VolumeCommand.CreateCheckpoint c => [new CheckpointCreated(c.Name, c.Volumes, atLsn)],
            VolumeCommand.DeleteCheckpoint c => [new CheckpointRemoved(c.Name, atLsn)],
            VolumeCommand.ResizeVolume c => c.Size == state.Size ? [] : [new VolumeResized(state.Size, c.Size, atLsn)],
            VolumeCommand.RemoveVolume => [new VolumeRemoved(atLsn)],
            VolumeCommand.EndTransientBitmaps c => EndWithAgent(c, state, atLsn),
            VolumeCommand.LoseTracking c =>
                [new TrackingLost(state.LastLsn, c.ToLsn ?? state.LastLsn, c.Why, c.ToLsn ?? state.LastLsn)],
            VolumeCommand.RecoverWrites c => [new WritesRecovered(c.Extents, atLsn)],
            _ => [],
        };
    }

    private static IEnumerable<IVolumeEvent> EndWithAgent(VolumeCommand.EndTransientBitmaps met, VolumeState state, long atLsn) =>
    [
        .. met.JobsToo ? BackupDecider.EndAll(state, "the agent ended", atLsn) : [],
        .. state.Bitmaps.Where(b => !b.Persistent && b.Run != met.Run).Select(b => new BitmapRemoved(b.Name, Causes.Transient, atLsn)),
    ];

    private static Refusal? RefuseCheckpoint(string name, VolumeState state) =>
        Names.RefuseCheckpoint(name)
        ?? (state.Checkpoint(name) is not null
            ? Refusal.Exists($"Checkpoint '{name}' of volume '{state.Name}' already exists", "delete it first, or take another name")
            : state.CheckpointCount >= CheckpointsMax
                ? Refusal.BadArgument($"Volume '{state.Name}' has {CheckpointsMax} checkpoints", "delete some first")
                : null);

    private static Refusal? RefuseResize(long size, DecidingVolume volume)
    {
        var state = volume.State;
        if (size <= 0 || size % SectorBytes != 0)
            return Refusal.BadArgument("The new size must be a multiple of 512", $"{size} is not");
        if (state.ReadOnly)
            return Refusal.Failed($"Volume '{state.Name}' is read-only and cannot be resized");
        if (volume.Place.IsExported)
            return Refusal.Busy(
                $"Permission conflict on node '{state.Name}': permissions 'resize' are both required by an unnamed block device "
                + $"(uses node '{state.Name}' as 'root' child) and unshared by an unnamed block device "
                + $"(uses node '{state.Name}' as 'root' child).", "block-export-del of QMP ends its exports");
        if (state.Backups is [var job, ..])
            return Refusal.Busy(
                $"Permission conflict on node '{state.Name}': permissions 'resize' are both required by an unnamed block device "
                + $"(uses node '{state.Name}' as 'root' child) and unshared by backup job '{job.Job}' "
                + $"(uses node '{state.Name}' as 'file' child)");
        if (state.Bitmaps.FirstOrDefault(b => b.Inconsistent) is { } inconsistent)
            return BitmapRefusals.Inconsistent(inconsistent);
        return state.Bitmaps.Select(b => BitmapDecider.RefuseSize(b.Name, b.Granularity, size)).FirstOrDefault(r => r is not null);
    }
}
