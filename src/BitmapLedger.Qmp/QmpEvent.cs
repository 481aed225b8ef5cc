using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp;

/// <summary>Something that happened, told to every client.</summary>
/// <param name="Name">In capitals, such as <c>BLOCK_EXPORT_DELETED</c>.</param>
/// <param name="Data">What of, or null.</param>
/// <param name="Time">When, to the microsecond.</param>
public sealed record QmpEvent(string Name, JsonObject? Data, DateTimeOffset Time)
{
    /// <summary>As it goes over the wire.</summary>
    public JsonObject ToMessage()
    {
        var microseconds = (Time - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        var message = new JsonObject
        {
            ["timestamp"] = new JsonObject
            {
                ["seconds"] = microseconds / 1_000_000,
                ["microseconds"] = microseconds % 1_000_000,
            },
            ["event"] = Name,
        };
        if (Data is not null)
            message["data"] = Data.DeepClone();
        return message;
    }

    /// <summary>Reads a message of a server; null when it is no event.</summary>
    /// <param name="message">The message.</param>
    public static QmpEvent? Of(JsonObject message)
    {
        if (message["event"] is not JsonValue name || !name.TryGetValue<string>(out var text))
            return null;
        var time = message["timestamp"] as JsonObject;
        return new(
            text, message["data"] as JsonObject,
            DateTimeOffset.UnixEpoch.AddSeconds(Number(time?["seconds"])).AddMicroseconds(Number(time?["microseconds"])));
    }

    private static long Number(JsonNode? node) => node is JsonValue value && value.TryGetValue<long>(out var number) ? number : 0;
}
