using BitmapLedger.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>Decides commands. Pure: same commands, same state, same place, same answer.</summary>
public static class VolumeDecider
{
    /// <summary>Most checkpoints of a volume: a bound, not a cost; each is a name for a position.</summary>
    public const int CheckpointsMax = 100_000;

    /// <summary>Most bitmaps of a volume, as many as an image of QEMU's can hold (65,535).</summary>
    public const int BitmapsMax = 65_535;

    /// <summary>Decides several commands as one: later ones see earlier ones, and a refusal refuses all.</summary>
    /// <param name="commands">What is wanted, in order.</param>
    /// <param name="state">The volume before.</param>
    /// <param name="atLsn">LSN that the events stand after.</param>
    /// <param name="now">When they happen.</param>
    public static Decision Decide(
        IReadOnlyList<VolumeCommand> commands, VolumeState state, long atLsn, DateTimeOffset now)
    {
        List<IVolumeEvent> events = [];
        var after = state;
        foreach (var command in commands)
        {
            if (after.Removed)
                return new([], state, Refusal.NotFound($"Volume '{state.Name}' was removed"));
            if (Refuse(command, after) is { } refusal)
                return new([], state, refusal);
            foreach (var happened in Happen(command, after, atLsn))
            {
                events.Add(happened);
                after = after.Apply(happened, after.Event + 1, now);
            }
        }

        return new(events, after, Refusal: null);
    }

    private static Refusal? Refuse(VolumeCommand command, VolumeState state) => command switch
    {
        VolumeCommand.AddBitmap add => RefuseAdd(add, state),
        VolumeCommand.RemoveBitmap c => RefuseUnknown(c.Name, state),
        VolumeCommand.ClearBitmap c => RefuseUnknown(c.Name, state),
        VolumeCommand.EnableBitmap c => RefuseUnknown(c.Name, state),
        VolumeCommand.DisableBitmap c => RefuseUnknown(c.Name, state),
        VolumeCommand.CreateCheckpoint c => Names.RefuseCheckpoint(c.Name)
            ?? (state.Checkpoint(c.Name) is not null
                ? Refusal.Exists($"Checkpoint '{c.Name}' of volume '{state.Name}' already exists", "delete it first, or take another name")
                : state.Checkpoints.Count >= CheckpointsMax
                    ? Refusal.BadArgument($"Volume '{state.Name}' has {CheckpointsMax} checkpoints", "delete some first")
                    : null),
        VolumeCommand.DeleteCheckpoint c => state.Checkpoint(c.Name) is null
            ? Refusal.NotFound($"Checkpoint '{c.Name}' of volume '{state.Name}' not found")
            : null,
        _ => null,
    };

    private static Refusal? RefuseAdd(VolumeCommand.AddBitmap add, VolumeState state)
    {
        if (Names.RefuseBitmap(add.Name) is { } refusal)
            return refusal;
        if (add.Granularity is { } granularity && !Granularity.IsValid(granularity))
            return Refusal.BadArgument(
                "Granularity must be power of 2 and at least 512", $"{granularity} is not; take 512 to 2G, for example 64K");
        if (state.Bitmap(add.Name) is not null)
            return Refusal.Exists($"Bitmap already exists: {add.Name}");
        if (state.Bitmaps.Count >= BitmapsMax)
            return Refusal.BadArgument($"Volume '{state.Name}' has {BitmapsMax} bitmaps", "remove some first");
        var blocks = Granularity.FromBytes(add.Granularity ?? Granularity.Default.Bytes).BlockCount(state.Size);
        return blocks > NativeBitmap.BlocksMax
            ? Refusal.BadArgument(
                $"Bitmap '{add.Name}' would need {blocks} bits, more than {NativeBitmap.BlocksMax}", "take a coarser granularity")
            : null;
    }

    private static Refusal? RefuseUnknown(string name, VolumeState state) =>
        state.Bitmap(name) is null ? Refusal.NotFound($"Dirty bitmap '{name}' not found") : null;

    private static IEnumerable<IVolumeEvent> Happen(VolumeCommand command, VolumeState state, long atLsn) => command switch
    {
        VolumeCommand.AddBitmap c =>
            [new BitmapAdded(c.Name, c.Granularity ?? Granularity.Default.Bytes, c.Disabled, c.Persistent, atLsn)],
        VolumeCommand.RemoveBitmap c => [new BitmapRemoved(c.Name, "command", atLsn)],
        VolumeCommand.ClearBitmap c => [new BitmapCleared(c.Name, atLsn)],
        VolumeCommand.EnableBitmap c => [new BitmapEnabled(c.Name, atLsn)],
        VolumeCommand.DisableBitmap c => [new BitmapDisabled(c.Name, atLsn)],
        VolumeCommand.CreateCheckpoint c => [new CheckpointCreated(c.Name, c.Volumes, atLsn)],
        VolumeCommand.DeleteCheckpoint c => [new CheckpointRemoved(c.Name, atLsn)],
        VolumeCommand.RemoveVolume => [new VolumeRemoved(atLsn)],
        VolumeCommand.EndTransientBitmaps =>
            state.Bitmaps.Where(b => !b.Persistent).Select(b => new BitmapRemoved(b.Name, "transient", atLsn)),
        VolumeCommand.LoseTracking c => [new TrackingLost(state.LastLsn, c.ToLsn ?? state.LastLsn, c.Why, c.ToLsn ?? state.LastLsn)],
        VolumeCommand.RecoverWrites c => [new WritesRecovered(c.Extents, atLsn)],
        _ => [],
    };
}
