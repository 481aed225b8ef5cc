using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Bits that events carry.</summary>
public static class GivenBits
{
    /// <summary>The bytes that a <see cref="BitOrigin.Given"/> speaks of, or null when the event carries none there.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="index">Which of its sources.</param>
    public static byte[]? In(IVolumeEvent happened, int index) => happened switch
    {
        BitmapImported e => e.Bits,
        BitmapMerged e => e.Sources[index].Bits,
        BackupFailed e => e.Left?.Bits,
        BackupCancelled e => e.Left?.Bits,
        _ => null,
    };

    /// <summary>Reads encoded bits; the caller disposes them.</summary>
    /// <exception cref="CorruptionException">They are not what was written.</exception>
    public static NativeBitmap Read(byte[]? bytes)
    {
        var fault = BitmapCodec.TryRead(bytes, out var map);
        return map ?? throw new CorruptionException("bits of an event", 0, fault.ToString());
    }
}
