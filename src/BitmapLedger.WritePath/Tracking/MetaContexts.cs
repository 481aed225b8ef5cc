using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>Holes and zeroes, as the backend says.</summary>
internal sealed class AllocationContext(TrackedVolume volume) : IMetaContext
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

/// <summary>A bitmap as it is now: flag 1 is dirty.</summary>
internal sealed class DirtyContext(TrackedVolume volume, string bitmap) : IMetaContext
{
    public string Name => "qemu:dirty-bitmap:" + bitmap;

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

/// <summary>How deep below the top the data of a stretch lies: nothing is below a raw file.</summary>
internal sealed class AllocationDepthContext : IMetaContext
{
    private const uint Local = 1;

    public string Name => "qemu:allocation-depth";

    public bool TryDescribe(long offset, long length, int extentsMax, List<StatusExtent> target)
    {
        StatusExtents.Append(target, length, Local);
        return StatusExtents.Trim(target, extentsMax);
    }
}
