using System.Text.Json;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Cli.Rendering;

/// <summary>What an event was about, in a few words: which bitmap, which slice, how large.</summary>
internal static class EventWords
{
    public static string Of(HistoryEvent happened)
    {
        var data = happened.Data;
        return happened.Type switch
        {
            "VolumeResized" => $"{Size(data, "size_before")} to {Size(data, "size")}",
            "BitmapMerged" => $"{Text(data, "target")} from {string.Join(", ", Sources(data))}",
            "RetentionSet" => $"{Text(data, "bitmap")} keeps {Number(data, "slices")}, then {Text(data, "overflow")}",
            "SliceBanked" or "SliceDeleted" or "SliceDropped" => $"{Text(data, "bitmap")}/{Number(data, "slice")}",
            "HistoryCoalesced" => $"events {Number(data, "first_event")} to {happened.Event}{(Flag(data, "gone") ? ", forgotten" : "")}",
            "HistoryRetained" => $"{Number(data, "events_before")} events became {Number(data, "events_after")}",
            "TrackingLost" => Text(data, "why"),
            _ => FirstOf(data, "name", "bitmap", "job"),
        };
    }

    private static string FirstOf(JsonElement data, params IEnumerable<string> members) =>
        members.Select(m => Text(data, m)).FirstOrDefault(t => t.Length > 0, "");

    private static string Text(JsonElement data, string member) =>
        data.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    private static bool Flag(JsonElement data, string member) =>
        data.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.True;

    private static long Number(JsonElement data, string member) =>
        data.TryGetProperty(member, out var value) && value.TryGetInt64(out var number) ? number : 0;

    private static string Size(JsonElement data, string member) => ByteSize.Show(Number(data, member));

    private static IEnumerable<string> Sources(JsonElement data) => data.TryGetProperty("sources", out var sources)
        ? sources.EnumerateArray().Select(s => Text(s, "volume") is { Length: > 0 } volume ? $"{volume}:{Text(s, "name")}" : Text(s, "name"))
        : [];
}
