using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Why bitmaps cannot be used: QEMU's texts, in QEMU's order of checks.</summary>
internal static class BitmapRefusals
{
    /// <summary>Unless a bitmap is there and may be modified.</summary>
    public static Refusal? Modify(string name, DecidingVolume volume) =>
        Check(name, volume, b => ReadOnly(b) ?? Inconsistent(b));

    /// <summary>Unless a bitmap is there and may be used; one that is read-only may.</summary>
    public static Refusal? Use(string name, DecidingVolume volume) => Check(name, volume, Inconsistent);

    /// <summary>Unless a bitmap is there and may be removed; one that is inconsistent may.</summary>
    public static Refusal? Remove(string name, DecidingVolume volume) => Check(name, volume, ReadOnly);

    /// <summary>QEMU's text for a bitmap that is in use.</summary>
    public static Refusal Busy(string name, string? hint = null) =>
        Refusal.Busy($"Bitmap '{name}' is currently in use by another operation and cannot be used", hint);

    /// <summary>QEMU's text for a bitmap that is not there.</summary>
    public static Refusal NotFound(string name) => Refusal.NotFound($"Dirty bitmap '{name}' not found");

    /// <summary>QEMU's text for a bitmap whose bits cannot be relied on.</summary>
    public static Refusal? Inconsistent(BitmapState bitmap) => bitmap.Inconsistent
        ? Refusal.Failed($"Bitmap '{bitmap.Name}' is inconsistent and cannot be used", "remove it; its bits cannot be relied on")
        : null;

    private static Refusal? ReadOnly(BitmapState bitmap) =>
        bitmap.ReadOnly ? Refusal.Failed($"Bitmap '{bitmap.Name}' is readonly and cannot be modified") : null;

    private static Refusal? Check(string name, DecidingVolume volume, Func<BitmapState, Refusal?> more)
    {
        if (volume.Bitmap(name) is not { } bitmap)
            return NotFound(name);
        return volume.IsBusy(bitmap)
            ? Busy(
                name, bitmap.Busy ? $"by job {string.Join(", ", bitmap.Jobs.Select(j => $"'{j}'"))}"
                : volume.IsShown(bitmap) ? "by a block export, which block-export-del of QMP ends"
                : null)
            : more(bitmap);
    }
}
