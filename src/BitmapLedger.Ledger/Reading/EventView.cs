using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Reading;

/// <summary>An event as histories show it: its own data, and the metadata around it.</summary>
internal static class EventView
{
    private static readonly JsonSerializerOptions _json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = ApiJson.Encoder,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver { Modifiers = { LeaveOutBits } },
    };

    public static HistoryEvent Show(IEvent e)
    {
        var packed = (e.Data as WritesRecorded)?.Packed;
        var coalesced = (e.Data as HistoryCoalesced)?.Coalesced.Span;
        var lsn = Lsn((IVolumeEvent)e.Data);
        return new(
            e.Version, e.Data.GetType().Name, Timestamps.Show(e.Timestamp), lsn, packed?.Count ?? coalesced?.Count,
            packed?.TotalBytes ?? coalesced?.TotalBytes,
            e.UserName, Header(e, "client"), Header(e, "command_id"), Header(e, "transaction"), Data(e));
    }

    /// <summary>The writes that an event holds or stands for, or the write that it stands after.</summary>
    public static LsnSpan Lsn(IVolumeEvent happened) => happened switch
    {
        WritesRecorded { Packed: var packed } => new(packed.FirstLsn, packed.LastLsn, IsRange: true),
        HistoryCoalesced { Coalesced.Span: var span } => new(span.FirstLsn, span.LastLsn, IsRange: true),
        TrackingLost lost => new(lost.FromLsn, lost.ToLsn, IsRange: true),
        _ => new(((ICommandEvent)happened).AtLsn, ((ICommandEvent)happened).AtLsn),
    };

    /// <summary>A history says that there are bits; <c>replay</c> shows them.</summary>
    private static void LeaveOutBits(JsonTypeInfo type)
    {
        foreach (var property in type.Properties.Where(p => p.PropertyType == typeof(byte[])))
            property.ShouldSerialize = (_, _) => false;
    }

    private static JsonElement Data(IEvent e) => e.Data switch
    {
        WritesRecorded { Packed: var packed } => JsonSerializer.SerializeToElement(
            new
            {
                packed.FirstLsn,
                packed.Count,
                FirstTime = Time(packed.FirstTimeMicroseconds),
                LastTime = Time(packed.LastTimeMicroseconds),
                packed.Connections,
                packed.Voids,
                StoredBytes = packed.Bytes.Length,
            }, _json),
        HistoryCoalesced { Coalesced: var coalesced } => JsonSerializer.SerializeToElement(
            new
            {
                coalesced.Span.FirstEvent,
                coalesced.Span.FirstLsn,
                coalesced.Span.Count,
                FirstTime = Time(coalesced.Span.FirstTimeMicroseconds),
                LastTime = Time(coalesced.Span.LastTimeMicroseconds),
                Gone = coalesced.IsGone,
                StoredBytes = coalesced.Bytes.Length,
            }, _json),
        _ => JsonSerializer.SerializeToElement(e.Data, e.Data.GetType(), _json),
    };

    private static string Time(long microseconds) => Timestamps.Show(Timestamps.FromMicroseconds(microseconds));

    private static string? Header(IEvent e, string name) => e.GetHeader(name)?.ToString();
}
