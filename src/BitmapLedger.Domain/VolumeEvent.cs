using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Domain;

/// <summary>Something that happened to a volume: past tense, immutable, named in spec/events.md.</summary>
public interface IVolumeEvent;

/// <summary>An event of a command: it stands after a write.</summary>
public interface ICommandEvent : IVolumeEvent
{
    /// <summary>LSN of the write it stands after; 0 before the first.</summary>
    long AtLsn { get; }
}

/// <summary>A volume came under watch. From here on no write to it goes unrecorded.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Size">Its size in bytes.</param>
/// <param name="Backend">Where its data is, as the user wrote it.</param>
/// <param name="File">Absolute path of the file or device.</param>
/// <param name="ReadOnly">Whether writes are refused.</param>
/// <param name="Durability"><c>process</c> or <c>power</c>.</param>
/// <param name="WhenFull"><c>stall</c> or <c>fail</c>.</param>
/// <param name="AtLsn">0.</param>
public sealed record VolumeCreated(
    string Name, long Size, string Backend, string File, bool ReadOnly, string Durability, string WhenFull, long AtLsn)
    : ICommandEvent;

/// <summary>A volume went out of watch. Its history stays.</summary>
/// <param name="AtLsn">LSN of its last write.</param>
public sealed record VolumeRemoved(long AtLsn) : ICommandEvent;

/// <summary>A stretch of single writes. Binary, thousands at a time.</summary>
/// <param name="Packed">The writes.</param>
public sealed record WritesRecorded(PackedWrites Packed) : IVolumeEvent;

/// <summary>A gap: writes may have gone unrecorded, so every block counts as written.</summary>
/// <param name="FromLsn">LSN after which the gap begins.</param>
/// <param name="ToLsn">LSN at which it ends; equal to <paramref name="FromLsn"/> when no LSN was given to what was
/// lost.</param>
/// <param name="Why">What happened.</param>
/// <param name="AtLsn">Equal to <paramref name="ToLsn"/>.</param>
public sealed record TrackingLost(long FromLsn, long ToLsn, string Why, long AtLsn) : ICommandEvent;

/// <summary>
/// Found after a power loss, or after the disk refused to make data durable: what may have been written without a
/// record, and
/// what may have reverted to older data. More than that is possible, less is not.
/// </summary>
/// <param name="Extents">Stretches of the volume, ascending.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record WritesRecovered(IReadOnlyList<RecoveredStretch> Extents, long AtLsn) : ICommandEvent
{
    /// <summary>Whether any of it lies between two bytes.</summary>
    /// <param name="offset">First byte.</param>
    /// <param name="end">The byte behind the last.</param>
    public bool Touches(long offset, long end) => Extents.Any(e => e.Offset < end && e.Offset + e.Length > offset);

    /// <summary>Marks all of it, clipped to the map.</summary>
    /// <param name="map">The map.</param>
    public void Mark(NativeBitmap map)
    {
        foreach (var extent in Extents.Where(e => e.Offset < map.VolumeBytes))
            map.MarkDirty(extent.Offset, Math.Min(extent.Length, map.VolumeBytes - extent.Offset));
    }
}

/// <summary>A stretch of a volume.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes.</param>
public sealed record RecoveredStretch(long Offset, long Length);
