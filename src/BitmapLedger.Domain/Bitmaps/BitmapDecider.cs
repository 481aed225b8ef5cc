using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Decides what brings bitmaps and bits: add, import, merge.</summary>
internal static class BitmapDecider
{
    public static Refusal? RefuseAdd(string name, long? granularity, DecidingVolume volume)
    {
        if (Names.RefuseBitmap(name) is { } refusal)
            return refusal;
        if (granularity is { } bytes && !Granularity.IsValid(bytes))
            return Refusal.BadArgument(
                "Granularity must be power of 2 and at least 512", $"{granularity} is not; take 512 to 2G, for example 64K");
        if (volume.Bitmap(name) is not null)
            return Refusal.Exists($"Bitmap already exists: {name}");
        var state = volume.State;
        if (state.Bitmaps.Count >= VolumeDecider.BitmapsMax)
            return Refusal.BadArgument($"Volume '{state.Name}' has {VolumeDecider.BitmapsMax} bitmaps", "remove some first");
        return RefuseSize(name, granularity ?? Granularity.Default.Bytes, state.Size);
    }

    public static Refusal? RefuseImport(VolumeCommand.ImportBitmap import, DecidingVolume volume)
    {
        if (RefuseAdd(import.Name, import.Granularity, volume) is { } refusal)
            return refusal;
        var fault = BitmapCodec.TryRead(import.Bits, out var bits);
        using (bits)
        {
            if (bits is null)
                return Refusal.BadArgument($"The bits of bitmap '{import.Name}' cannot be read: {fault}");
            return bits.VolumeBytes != volume.State.Size || bits.Granularity.Bytes != import.Granularity
                ? Refusal.BadArgument(
                    $"The bits of bitmap '{import.Name}' are for {bits.VolumeBytes} bytes at {bits.Granularity.Bytes} bytes a bit, "
                    + $"and volume '{volume.State.Name}' has {volume.State.Size} bytes")
                : null;
        }
    }

    /// <summary>The checks of a merge in QEMU's order: the target is there; then for each source that it is there, that the
    /// target may be modified, that the source may be used, and that they are of one size.</summary>
    public static Refusal? RefuseMerge(VolumeCommand.MergeBitmap merge, DecidingVolume target, Deciding volumes)
    {
        if (target.Bitmap(merge.Target) is null)
            return BitmapRefusals.NotFound(merge.Target);
        foreach (var source in merge.Sources)
        {
            var volume = source.Volume is { } id ? volumes.Volume(id) : target;
            if (volume.Bitmap(source.Name) is null)
                return BitmapRefusals.NotFound(source.Name);
            if ((BitmapRefusals.Modify(merge.Target, target) ?? BitmapRefusals.Use(source.Name, volume)) is { } refusal)
                return refusal;
            if (volume.State.Size != target.State.Size)
                return Refusal.BadArgument(
                    $"Bitmaps are of different sizes (destination size is {target.State.Size}, source size is {volume.State.Size}) "
                    + "and can't be merged");
        }

        return null;
    }

    /// <summary>The event of a merge; the bits of foreign sources are still to be given. Of nothing, nothing happens.</summary>
    public static IEnumerable<IVolumeEvent> Merge(VolumeCommand.MergeBitmap merge, DecidingVolume target, Deciding volumes) =>
        merge.Sources.Count == 0
            ? []
            : [new BitmapMerged(merge.Target, [.. merge.Sources.Select(s => Source(s, target, volumes))], target.Place.AtLsn)];

    /// <summary>Refuses a bitmap that would need more bits than a map can have.</summary>
    public static Refusal? RefuseSize(string name, long granularity, long size)
    {
        var blocks = Granularity.FromBytes(granularity).BlockCount(size);
        return blocks > NativeBitmap.BlocksMax
            ? Refusal.BadArgument(
                $"Bitmap '{name}' would need {blocks} bits, more than {NativeBitmap.BlocksMax}", "take a coarser granularity")
            : null;
    }

    private static MergeSource Source(BitmapRef source, DecidingVolume target, Deciding volumes)
    {
        if (source.Volume is not { } id || id == target.State.Id)
            return new(source.Name);
        var volume = volumes.Volume(id);
        return new(source.Name, volume.State.Name, volume.State.Bitmap(source.Name)!.Granularity);
    }
}
