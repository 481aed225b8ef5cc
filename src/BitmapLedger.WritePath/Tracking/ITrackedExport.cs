using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>An export whose requests go to a tracked volume.</summary>
public interface ITrackedExport : IExport
{
    /// <summary>The volume behind it.</summary>
    TrackedVolume Volume { get; }

    /// <summary>Whether each write is flushed before it is answered.</summary>
    bool WriteThrough { get; }

    /// <summary>Whether it was ended while a client was choosing it.</summary>
    bool HasEnded { get; }
}
