using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Stores <see cref="WritesRecorded"/> as the bytes that its writes are packed in.</summary>
public sealed class PackedWritesSerializer : IEventBinarySerializer
{
    /// <inheritdoc />
    public byte[] Serialize(Type type, object data) => ((WritesRecorded)data).Packed.Bytes.ToArray();

    /// <inheritdoc />
    /// <exception cref="CorruptionException">The stored bytes are not what was written.</exception>
    public object Deserialize(Type type, byte[] data)
    {
        var fault = PackedWrites.TryRead(data, out var packed);
        return packed is null
            ? throw new CorruptionException("a WritesRecorded event", 0, fault.ToString())
            : new WritesRecorded(packed);
    }
}
