using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using Marten;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>An event as it stands in the stream, not decoded yet. Valid until the next one is read: its bytes are in one
/// buffer.</summary>
/// <param name="number">Its number.</param>
/// <param name="time">When it happened.</param>
/// <param name="type">Name of its type.</param>
/// <param name="bytes">Its data.</param>
/// <param name="serializer">Reads the events of commands.</param>
public readonly struct EventRow(
    long number, DateTimeOffset time, string type, ReadOnlyMemory<byte> bytes, ISerializer serializer)
{
    /// <summary>Its number.</summary>
    public long Number { get; } = number;

    /// <summary>When it happened.</summary>
    public DateTimeOffset Time { get; } = time;

    /// <summary>Whether it is a block of writes.</summary>
    public bool IsWrites => type == EventTypes.Writes;

    /// <summary>Whether it stands for single writes that were coalesced.</summary>
    public bool IsCoalesced => type == EventTypes.Coalesced;

    /// <summary>Its data. Valid until the next event is read.</summary>
    public ReadOnlyMemory<byte> Bytes => bytes;

    /// <summary>Decodes it. Writes are valid until the next event is read.</summary>
    /// <exception cref="CorruptionException">Its bytes are not what was written.</exception>
    public IVolumeEvent Data() => Decode(bytes);

    /// <summary>Decodes it; what is returned stays valid.</summary>
    /// <exception cref="CorruptionException">Its bytes are not what was written.</exception>
    public IVolumeEvent Detached() => Decode(bytes.ToArray());

    /// <summary>Marks the writes of a block of writes after one LSN, up to and including another, clipped to the map.</summary>
    /// <exception cref="CorruptionException">Its bytes are not what was written.</exception>
    public void Mark(long afterLsn, long throughLsn, NativeBitmap map) =>
        Require(PackedScan.TryMark(bytes.Span, afterLsn, throughLsn, map));

    /// <summary>Whether any write of a block of writes touches a stretch of the volume.</summary>
    /// <exception cref="CorruptionException">Its bytes are not what was written.</exception>
    public bool Touches(long offsetBytes, long endBytes)
    {
        Require(PackedScan.TryTouches(bytes.Span, offsetBytes, endBytes, out var touches));
        return touches;
    }

    private IVolumeEvent Decode(ReadOnlyMemory<byte> data)
    {
        if (IsCoalesced)
        {
            Require(CoalescedWrites.TryRead(data, out var coalesced));
            return new HistoryCoalesced(coalesced!);
        }

        if (!IsWrites)
        {
            using var json = new MemoryStream(data.ToArray());
            return (IVolumeEvent)serializer.FromJson(EventTypes.Of(type), json);
        }

        Require(PackedWrites.TryRead(data, out var packed));
        return new WritesRecorded(packed!);
    }

    private void Require(CodecFault fault)
    {
        if (fault != CodecFault.None)
            throw new CorruptionException($"event {Number} of a volume's stream", 0, fault.ToString());
    }
}

/// <summary>Names of event types as they stand in PostgreSQL.</summary>
internal static class EventTypes
{
    private static readonly Dictionary<string, Type> _types = typeof(IVolumeEvent).Assembly.GetTypes()
        .Where(t => t.IsClass && !t.IsAbstract && t.IsAssignableTo(typeof(IVolumeEvent))).ToDictionary(NameOf);

    /// <summary>The name of <see cref="WritesRecorded"/>.</summary>
    public static string Writes { get; } = NameOf(typeof(WritesRecorded));

    /// <summary>The name of <see cref="HistoryCoalesced"/>.</summary>
    public static string Coalesced { get; } = NameOf(typeof(HistoryCoalesced));

    /// <summary>The name of <see cref="HistoryRetained"/>.</summary>
    public static string Retained { get; } = NameOf(typeof(HistoryRetained));

    /// <summary>The type of a name.</summary>
    public static Type Of(string name) => _types[name];

    /// <summary>Names of all types, as answers have them.</summary>
    public static IReadOnlySet<string> Shown { get; } =
        _types.Values.Select(t => t.Name).ToHashSet(StringComparer.OrdinalIgnoreCase);

    /// <summary>How PostgreSQL has types whose names are given in any case; those that are none are left out.</summary>
    public static IReadOnlyCollection<string> StoredAs(IReadOnlyCollection<string> names) =>
        [.. _types.Where(t => names.Contains(t.Value.Name, StringComparer.OrdinalIgnoreCase)).Select(t => t.Key)];

    private static string NameOf(Type type) => JsonNamingPolicy.SnakeCaseLower.ConvertName(type.Name);
}
