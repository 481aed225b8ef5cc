using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>Gathers extents as BLOCK_STATUS wants them: merged, each at most 2^32-1 bytes.</summary>
internal static class StatusExtents
{
    /// <summary>The largest multiple of the preferred block below 2^32.</summary>
    private const long LengthMax = (1L << 32) - NbdLimits.PreferredBlockBytes;

    /// <summary>One more than wanted is gathered, so that the last wanted one is known to be whole.</summary>
    public static bool HasRoom(List<StatusExtent> target, int extentsMax) => target.Count <= extentsMax;

    public static void Append(List<StatusExtent> target, long length, uint flags)
    {
        if (target.Count > 0 && target[^1] is var last && last.Flags == flags)
        {
            var joined = Math.Min(length, LengthMax - last.Length);
            target[^1] = last with { Length = last.Length + joined };
            length -= joined;
        }

        for (; length > 0; length -= Math.Min(length, LengthMax))
            target.Add(new(Math.Min(length, LengthMax), flags));
    }

    public static bool Trim(List<StatusExtent> target, int extentsMax)
    {
        if (target.Count > extentsMax)
            target.RemoveRange(extentsMax, target.Count - extentsMax);
        return target.Count > 0;
    }
}
