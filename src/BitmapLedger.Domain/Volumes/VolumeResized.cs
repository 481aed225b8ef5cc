namespace BitmapLedger.Domain;

/// <summary>A volume grew or shrank. Bitmaps follow as in QEMU: grown bits are clean, bits wholly behind the new end go,
/// and growing again does not bring them back. For ranges a shrink counts as a trim of the tail.</summary>
/// <param name="SizeBefore">Bytes before.</param>
/// <param name="Size">Bytes from here on.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record VolumeResized(long SizeBefore, long Size, long AtLsn) : ICommandEvent;
