using BitmapLedger.Contracts.Control;
using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A block export: a volume as its description wants it seen, with the chosen bitmaps only.</summary>
/// <param name="description">What was asked for.</param>
/// <param name="volume">The volume.</param>
/// <param name="bitmaps">The bitmaps that it shows, each with its volume.</param>
public sealed class ChosenExport(
    BlockExport description, TrackedVolume volume, IReadOnlyList<(TrackedVolume Volume, string Name)> bitmaps) : ITrackedExport
{
    private volatile bool _hasEnded;

    /// <summary>What was asked for.</summary>
    public BlockExport Asked { get; } = description;

    /// <inheritdoc />
    public TrackedVolume Volume { get; } = volume;

    /// <inheritdoc />
    public string Name => Asked.Name;

    /// <inheritdoc />
    public string? Description => Asked.Description;

    /// <inheritdoc />
    public long Size => Volume.Spec.Size;

    /// <inheritdoc />
    public bool ReadOnly => !Asked.Writable;

    /// <inheritdoc />
    public bool WriteThrough => Asked.WriteThrough;

    /// <inheritdoc />
    public bool HasEnded => _hasEnded;

    /// <inheritdoc />
    public IReadOnlyList<IMetaContext> Contexts() =>
    [
        new AllocationContext(Volume),
        .. Asked.AllocationDepth ? (IMetaContext[])[new AllocationDepthContext()] : [],
        .. bitmaps.Where(b => b.Volume.Bitmaps.Names.Contains(b.Name)).Select(b => new DirtyContext(b.Volume, b.Name)),
    ];

    /// <summary>Nobody who is choosing it now gets it any more.</summary>
    public void End() => _hasEnded = true;
}
