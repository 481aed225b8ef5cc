using BitmapLedger.Bitmaps;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>
/// What became of bits on their way: they were rounded outward to blocks of a granularity, and those beyond a size were cut
/// off; perhaps first so at a finer granularity. Merges and resizes leave these traces. Works on stretches of bytes, one by
/// one: the path of a union is the union of the paths.
/// </summary>
/// <param name="Granularity">Bytes of a block; the coarsest of the whole path.</param>
/// <param name="Clip">Bytes from which on nothing is left; null when nothing was cut off.</param>
/// <param name="Before">The path before, at a finer granularity, where it cut something off; null when there is
/// none.</param>
public sealed record BitPath(long Granularity, long? Clip = null, BitPath? Before = null)
{
    /// <summary>Its steps, in the order in which they are to be taken.</summary>
    public IEnumerable<(long Granularity, long? Clip)> Steps =>
        [.. Before?.Steps ?? [], (Granularity, Clip)];

    /// <summary>What becomes of a stretch of bytes.</summary>
    /// <returns>Whole blocks, or cut off at <see cref="Clip"/>; null when nothing is left. May reach behind the end of the
    /// volume by the rest of a block.</returns>
    public Extent? Carry(Extent stretch)
    {
        if (Before is not null)
        {
            if (Before.Carry(stretch) is not { } carried)
                return null;
            stretch = carried;
        }

        var first = stretch.Offset & -Granularity;
        var end = Math.Min(RoundUp(stretch.End, Granularity), Clip ?? long.MaxValue);
        return first < end ? new(first, end - first) : null;
    }

    /// <summary>Marks in one map what becomes of the bits of another; what is behind the end of the map is left out.</summary>
    public void Carry(NativeBitmap from, NativeBitmap into)
    {
        foreach (var run in from.Runs)
        {
            var shift = from.Granularity.Shift;
            if (Carry(new Extent(run.First << shift, run.Count << shift)) is not { } carried || carried.Offset >= into.VolumeBytes)
                continue;
            into.MarkDirty(carried.Offset, Math.Min(carried.End, into.VolumeBytes) - carried.Offset);
        }
    }

    /// <summary>The path of bits in a bitmap after its volume shrank: the block that holds the new end stays.</summary>
    /// <param name="granularity">Bytes a bit of the bitmap.</param>
    /// <param name="size">Bytes of the volume from then on.</param>
    public BitPath Shrunk(long granularity, long size) => Cut(RoundUp(size, granularity));

    /// <summary>The path of bits after the bitmap that holds them was merged into another.</summary>
    /// <param name="from">Bytes a bit of the one that is merged.</param>
    /// <param name="into">Bytes a bit of the other.</param>
    /// <param name="size">Bytes of the volume then.</param>
    public BitPath Merged(long from, long into, long size)
    {
        if (into == from)
            return this;
        if (into > Granularity)
            // A cut between blocks of the coarser granularity can as well be made afterwards.
            return Clip is { } clip && clip % into != 0 ? new(into, Clip: null, this) : this with { Granularity = into };
        var rounded = Clip is { } cut ? this with { Clip = RoundUp(cut, into) } : this;
        // The last block of a coarse bitmap reaches behind the end of the volume, its copies in a fine one do not: that shows
        // when the volume grows.
        return RoundUp(size, into) < RoundUp(size, from) ? rounded.Cut(RoundUp(size, into)) : rounded;
    }

    /// <summary>As <see cref="BitExpression"/> writes it.</summary>
    public override string ToString() => $"{Before}/{Granularity}{(Clip is { } clip ? $"<{clip}" : "")}";

    private BitPath Cut(long clip) => Clip <= clip ? this : this with { Clip = clip };

    private static long RoundUp(long bytes, long granularity) => (bytes + granularity - 1) & -granularity;
}
