namespace BitmapLedger.Domain.Volumes;

/// <summary>Something that somebody wants of a volume.</summary>
public abstract record VolumeCommand
{
    private VolumeCommand()
    {
    }

    /// <summary>Adds an empty bitmap.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Granularity">Bytes a bit; null for 64 KiB.</param>
    /// <param name="Disabled">Whether it starts without recording.</param>
    /// <param name="Persistent">Whether it outlives the Agent.</param>
    public sealed record AddBitmap(string Name, long? Granularity, bool Disabled, bool Persistent) : VolumeCommand;

    /// <summary>Removes a bitmap.</summary>
    /// <param name="Name">Its name.</param>
    public sealed record RemoveBitmap(string Name) : VolumeCommand;

    /// <summary>Empties a bitmap.</summary>
    /// <param name="Name">Its name.</param>
    public sealed record ClearBitmap(string Name) : VolumeCommand;

    /// <summary>Lets a bitmap record; one that does already stays as it is.</summary>
    /// <param name="Name">Its name.</param>
    public sealed record EnableBitmap(string Name) : VolumeCommand;

    /// <summary>Stops a bitmap from recording; one that does not stays as it is.</summary>
    /// <param name="Name">Its name.</param>
    public sealed record DisableBitmap(string Name) : VolumeCommand;

    /// <summary>Names this place of the history.</summary>
    /// <param name="Name">The name.</param>
    /// <param name="Volumes">All volumes that get it together, by name.</param>
    public sealed record CreateCheckpoint(string Name, IReadOnlyList<string> Volumes) : VolumeCommand;

    /// <summary>Forgets the name of a place.</summary>
    /// <param name="Name">The name.</param>
    public sealed record DeleteCheckpoint(string Name) : VolumeCommand;

    /// <summary>Ends the watch.</summary>
    public sealed record RemoveVolume : VolumeCommand;

    /// <summary>An Agent is met: transient bitmaps that were added in an earlier run of it have ended with that.</summary>
    /// <param name="Run">The run that is met; bitmaps that were added in it stay, however often it is met.</param>
    /// <param name="JobsToo">Whether the run is met for the first time: whatever job was under way has ended, too.</param>
    public sealed record EndTransientBitmaps(Guid Run, bool JobsToo) : VolumeCommand;

    /// <summary>Writes may have gone unrecorded.</summary>
    /// <param name="ToLsn">LSN at which recording goes on; null for the last one known.</param>
    /// <param name="Why">What happened.</param>
    public sealed record LoseTracking(long? ToLsn, string Why) : VolumeCommand;

    /// <summary>Blocks may have been written, or may have reverted, without a record.</summary>
    /// <param name="Extents">Which.</param>
    public sealed record RecoverWrites(IReadOnlyList<RecoveredStretch> Extents) : VolumeCommand;

    /// <summary>Turns the whole list down: the action <c>abort</c> of a transaction. Of no volume.</summary>
    /// <param name="Why">What is wrong with an action that no volume can be asked about; null for QEMU's text of an
    /// abort.</param>
    public sealed record Abort(Refusal? Why = null) : VolumeCommand;

    /// <summary>Adds the bits of some bitmaps to another; of no bitmaps, nothing happens.</summary>
    /// <param name="Target">The bitmap that gets them.</param>
    /// <param name="Sources">Where they come from.</param>
    public sealed record MergeBitmap(string Target, IReadOnlyList<BitmapRef> Sources) : VolumeCommand;

    /// <summary>Adds a bitmap with bits that come from outside.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Granularity">Bytes a bit.</param>
    /// <param name="Flags">What kind of bitmap it is.</param>
    /// <param name="Bits">Its bits as <c>BitmapCodec</c> encodes them, at this granularity and the volume's size.</param>
    /// <param name="Origin">Where they come from, for people.</param>
    public sealed record ImportBitmap(
        string Name, long Granularity, ImportFlags Flags, byte[] Bits, string Origin) : VolumeCommand;

    /// <summary>Lets the volume grow or shrink.</summary>
    /// <param name="Size">Bytes, a multiple of 512.</param>
    public sealed record ResizeVolume(long Size) : VolumeCommand;

    /// <summary>Sets how many slices a bitmap keeps.</summary>
    /// <param name="Bitmap">The bitmap.</param>
    /// <param name="Slices">Most slices; 0 for none.</param>
    /// <param name="Overflow"><c>fail</c> or <c>cycle</c>; null for <c>fail</c>.</param>
    /// <param name="ForceCycle">Whether the oldest may go when there are more already.</param>
    public sealed record SetRetention(string Bitmap, long Slices, string? Overflow = null, bool ForceCycle = false) : VolumeCommand;

    /// <summary>Moves the bits of a bitmap into a slice. The number, and what had to go, stand in the events.</summary>
    /// <param name="Bitmap">The bitmap.</param>
    /// <param name="ForceCycle">Whether the oldest may go, whatever the policy says.</param>
    public sealed record BankSlice(string Bitmap, bool ForceCycle = false) : VolumeCommand;

    /// <summary>Deletes a slice; its bits join the next older one that is kept.</summary>
    /// <param name="Bitmap">The bitmap.</param>
    /// <param name="Slice">Its number.</param>
    public sealed record DeleteSlice(string Bitmap, long Slice) : VolumeCommand;

    /// <summary>Forgets all slices of a bitmap, as a full backup with it does: the next one is 0.</summary>
    /// <param name="Bitmap">The bitmap.</param>
    public sealed record ResetSlices(string Bitmap) : VolumeCommand;

    /// <summary>Begins a backup job. What it will bank and drop stands in the event.</summary>
    /// <param name="Job">Id of the job.</param>
    /// <param name="Sync"><c>full</c>, <c>top</c>, <c>none</c>, <c>incremental</c>, <c>bitmap</c>, <c>differential</c> or
    /// <c>partial</c>.</param>
    /// <param name="Bitmaps">Bitmaps of the volume that it uses, by name.</param>
    /// <param name="Mode"><c>on-success</c>, <c>never</c>, <c>always</c>, or null for what <paramref name="Sync"/>
    /// implies.</param>
    /// <param name="Slice">First slice to copy, for <c>partial</c>.</param>
    /// <param name="ForceCycle">Whether the oldest slice may go, whatever the policy says.</param>
    public sealed record StartBackup(
        string Job, string Sync, IReadOnlyList<string> Bitmaps, string? Mode = null, long? Slice = null, bool ForceCycle = false)
        : VolumeCommand;

    /// <summary>Ends a backup job.</summary>
    /// <param name="Job">Id of the job.</param>
    /// <param name="Outcome">How it ended.</param>
    public sealed record EndBackup(string Job, BackupOutcome Outcome) : VolumeCommand;
}

/// <summary>A bitmap of some volume.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Volume">Id of its volume; null for the volume that is commanded.</param>
public sealed record BitmapRef(string Name, Guid? Volume = null);

/// <summary>How a backup job ended.</summary>
public abstract record BackupOutcome
{
    private BackupOutcome()
    {
    }

    /// <summary>Everything is copied.</summary>
    public sealed record Succeeded : BackupOutcome;

    /// <summary>It could not go on.</summary>
    /// <param name="Why">What happened.</param>
    /// <param name="Left">What was not copied; null when that is not known.</param>
    public sealed record Failed(string Why, RestBits? Left = null) : BackupOutcome;

    /// <summary>Somebody ended it.</summary>
    /// <param name="Left">As in <see cref="Failed"/>.</param>
    public sealed record Cancelled(RestBits? Left = null) : BackupOutcome;
}
