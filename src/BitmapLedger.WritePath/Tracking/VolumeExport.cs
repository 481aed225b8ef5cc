using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A volume as NBD sees it.</summary>
/// <param name="volume">The volume.</param>
public sealed class VolumeExport(TrackedVolume volume) : ITrackedExport
{
    /// <summary>The volume behind it.</summary>
    public TrackedVolume Volume { get; } = volume;

    /// <inheritdoc />
    public string Name => Volume.Spec.Name;

    /// <inheritdoc />
    public string? Description => null;

    /// <inheritdoc />
    public long Size => Volume.Spec.Size;

    /// <inheritdoc />
    public bool ReadOnly => Volume.Spec.ReadOnly;

    /// <inheritdoc />
    public bool WriteThrough => false;

    /// <inheritdoc />
    public bool HasEnded => false;

    /// <inheritdoc />
    public IReadOnlyList<IMetaContext> Contexts() =>
        [new AllocationContext(Volume), .. Volume.Bitmaps.Names.Select(n => new DirtyContext(Volume, n))];
}
