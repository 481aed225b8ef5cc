namespace BitmapLedger.Domain;

/// <summary>A bitmap came from outside, with its bits.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Flags">What kind of bitmap it is.</param>
/// <param name="Bits">Its bits as <c>BitmapCodec</c> encodes them, at <paramref name="Granularity"/> and the volume's
/// size.</param>
/// <param name="Origin">Where it came from, for people: <c>qcow2:/srv/disk.qcow2</c>.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapImported(
    string Name, long Granularity, ImportFlags Flags, byte[] Bits, string Origin, long AtLsn) : ICommandEvent;

/// <summary>What kind of bitmap was imported.</summary>
/// <param name="Disabled">Whether it starts without recording.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
/// <param name="ReadOnly">Whether it may not be modified, as QEMU has it for bitmaps of an image that is open
/// read-only.</param>
/// <param name="Inconsistent">Whether it was in use when its image was last left: its bits cannot be relied on, and all that
/// can be done with it is removing it.</param>
public sealed record ImportFlags(bool Disabled, bool Persistent, bool ReadOnly = false, bool Inconsistent = false);
