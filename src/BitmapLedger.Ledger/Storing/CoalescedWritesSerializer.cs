using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Stores <see cref="HistoryCoalesced"/> as the bytes that it is made of.</summary>
public sealed class CoalescedWritesSerializer : IEventBinarySerializer
{
    /// <inheritdoc />
    public byte[] Serialize(Type type, object data) => ((HistoryCoalesced)data).Coalesced.Bytes.ToArray();

    /// <inheritdoc />
    /// <exception cref="CorruptionException">The stored bytes are not what was written.</exception>
    public object Deserialize(Type type, byte[] data)
    {
        var fault = CoalescedWrites.TryRead(data, out var coalesced);
        return coalesced is null
            ? throw new CorruptionException("a HistoryCoalesced event", 0, fault.ToString())
            : new HistoryCoalesced(coalesced);
    }
}
