using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>Decides commands about slices: rules 1 to 4 of spec/qmp.md.</summary>
internal static class SliceDecider
{
    /// <summary>Most slices of a bitmap: each stands in the decision state.</summary>
    public const long SlicesMax = 65_535;

    public static Refusal? RefuseRetention(VolumeCommand.SetRetention set, DecidingVolume volume)
    {
        if (BitmapRefusals.Use(set.Bitmap, volume) is { } refusal)
            return refusal;
        if (set.Overflow is not (null or BitmapState.Fail or BitmapState.Cycle))
            return Refusal.BadArgument($"Parameter 'overflow' does not accept value '{set.Overflow}'", "take fail or cycle");
        if (set.Slices is < 0 or > SlicesMax)
            return Refusal.BadArgument($"{set.Slices} is no number of slices", $"take 0 to {SlicesMax}");
        var bitmap = volume.State.Bitmap(set.Bitmap)!;
        return bitmap.Slices.Count > set.Slices && !set.ForceCycle ? Full(bitmap) : null;
    }

    public static IEnumerable<IVolumeEvent> SetRetention(VolumeCommand.SetRetention set, VolumeState state, long atLsn) =>
    [
        .. Drops(state.Bitmap(set.Bitmap)!, set.Slices).Select(d => new SliceDropped(d.Bitmap, d.Slice, atLsn)),
        new RetentionSet(set.Bitmap, set.Slices, set.Overflow ?? state.Bitmap(set.Bitmap)!.Overflow, atLsn),
    ];

    public static Refusal? RefuseBank(string name, bool forceCycle, DecidingVolume volume) =>
        BitmapRefusals.Modify(name, volume) ?? RefuseRoom(volume.State.Bitmap(name)!, forceCycle);

    public static IEnumerable<IVolumeEvent> Bank(string name, VolumeState state, long atLsn)
    {
        var bitmap = state.Bitmap(name)!;
        return
        [
            .. Drops(bitmap, bitmap.Retention - 1).Select(d => new SliceDropped(d.Bitmap, d.Slice, atLsn)),
            new SliceBanked(name, bitmap.NextSlice, Causes.Manual, atLsn),
        ];
    }

    public static Refusal? RefuseDelete(VolumeCommand.DeleteSlice delete, DecidingVolume volume) =>
        BitmapRefusals.Modify(delete.Bitmap, volume)
        ?? (volume.State.Bitmap(delete.Bitmap)!.Slice(delete.Slice) is null ? NotFound(delete.Bitmap, delete.Slice) : null);

    /// <summary>Unless there is room for one more slice, or it may be made.</summary>
    public static Refusal? RefuseRoom(BitmapState bitmap, bool forceCycle) =>
        bitmap.Slices.Count < bitmap.Retention
            || (bitmap.Retention > 0 && (forceCycle || bitmap.Overflow == BitmapState.Cycle))
            ? null
            : Full(bitmap);

    /// <summary>The oldest slices, those that are more than may be kept.</summary>
    public static IEnumerable<SliceName> Drops(BitmapState bitmap, long keep) => bitmap.Slices
        .Take((int)Math.Max(0, bitmap.Slices.Count - keep)).Select(s => new SliceName(bitmap.Name, s.Number));

    public static Refusal NotFound(string bitmap, long slice) =>
        Refusal.NotFound($"Slice {slice} of bitmap '{bitmap}' not found");

    private static Refusal Full(BitmapState bitmap) => Refusal.Failed(
        $"Bitmap '{bitmap.Name}' already retains {bitmap.Slices.Count} slices",
        bitmap.Retention == 0 && bitmap.Slices.Count == 0
            ? "set its retention first: it keeps none"
            : "delete some, let it keep more, or force a cycle: then the oldest go");
}
