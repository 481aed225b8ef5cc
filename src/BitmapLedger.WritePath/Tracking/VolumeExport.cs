using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A volume as NBD sees it.</summary>
/// <param name="volume">The volume.</param>
public sealed class VolumeExport(TrackedVolume volume) : IExport
{
    private const string BitmapNamespace = "qemu:dirty-bitmap:";

    /// <summary>The volume behind it.</summary>
    public TrackedVolume Volume { get; } = volume;

    /// <inheritdoc />
    public string Name => Volume.Spec.Name;

    /// <inheritdoc />
    public long Size => Volume.Spec.Size;

    /// <inheritdoc />
    public bool ReadOnly => Volume.Spec.ReadOnly;

    /// <inheritdoc />
    public IReadOnlyList<IMetaContext> Contexts() =>
        [new AllocationContext(
            Volume), .. Volume.Bitmaps.Names.Select(n => new DirtyContext(Volume, BitmapNamespace + n, n))];

    private sealed class AllocationContext(TrackedVolume volume) : IMetaContext
    {
        private const uint HoleAndZero = 3;

        public string Name => "base:allocation";

        public bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target)
        {
            for (var at = offset; at < offset + length && StatusExtents.HasRoom(target, extentsMax);)
            {
                var hole = volume.Backend.IsHole(at, offset + length, out var until);
                StatusExtents.Append(target, until - at, hole ? HoleAndZero : 0);
                at = until;
            }

            return StatusExtents.Trim(target, extentsMax);
        }
    }

    private sealed class DirtyContext(TrackedVolume volume, string name, string bitmap) : IMetaContext
    {
        public string Name => name;

        public bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target)
        {
            for (var at = offset; at < offset + length && StatusExtents.HasRoom(target, extentsMax);)
            {
                if (volume.Bitmaps.IsDirty(bitmap, at, offset + length, out var until) is not { } dirty)
                    return false;
                StatusExtents.Append(target, until - at, dirty ? 1u : 0);
                at = until;
            }

            return StatusExtents.Trim(target, extentsMax);
        }
    }
}
