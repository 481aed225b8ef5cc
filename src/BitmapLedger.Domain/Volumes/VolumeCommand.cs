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

    /// <summary>The Agent has ended, and every transient bitmap with it.</summary>
    public sealed record EndTransientBitmaps : VolumeCommand;

    /// <summary>Writes may have gone unrecorded.</summary>
    /// <param name="ToLsn">LSN at which recording goes on; null for the last one known.</param>
    /// <param name="Why">What happened.</param>
    public sealed record LoseTracking(long? ToLsn, string Why) : VolumeCommand;

    /// <summary>Blocks may have been written, or may have reverted, without a record.</summary>
    /// <param name="Extents">Which.</param>
    public sealed record RecoverWrites(IReadOnlyList<RecoveredStretch> Extents) : VolumeCommand;
}
