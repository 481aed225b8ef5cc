using System.Globalization;
using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Reading;

namespace BitmapLedger.Server;

/// <summary>
/// <c>GET /v1/events</c>: server-sent events of what has just been appended. The id of each is its number within the volume when
/// one volume is listened to, else its sequence among all; sent back as <c>Last-Event-ID</c> it resumes behind it. Nothing is
/// kept for a listener: whoever does not read stops its own stream only, and is cut off when it takes too long.
/// </summary>
internal static class EventsEndpoint
{
    /// <summary>Well below the minute after which proxies give up on a silent connection.</summary>
    private static readonly TimeSpan _keepAlive = TimeSpan.FromSeconds(15);

    public static void MapEvents(this IEndpointRouteBuilder app) => app.MapGet("/v1/events", ListenAsync)
        .WithSummary("Server-sent events of what has just been appended")
        .Produces<HistoryEvent>(contentType: "text/event-stream");

    private static async Task ListenAsync(
        string? volume, HttpContext http, EventFeed feed, TimeProvider clock, IHostApplicationLifetime lifetime, CancellationToken aborted)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(aborted, lifetime.ApplicationStopping);
        var c = ending.Token;
        try
        {
            var events = await feed.ListenAsync(volume, LastEventId(http.Request), c);
            var spoken = 0L;
            await foreach (var e in events)
            {
                if (spoken == 0)
                {
                    http.Response.ContentType = "text/event-stream";
                    http.Response.Headers.CacheControl = "no-store";
                    await http.Response.WriteAsync("retry: 1000\n\n", c);
                }
                else if (e is null && clock.GetElapsedTime(spoken) < _keepAlive)
                {
                    continue;
                }

                await http.Response.WriteAsync(e is null ? ": still here\n\n" : Text(e, volume is not null), c);
                await http.Response.Body.FlushAsync(c);
                spoken = clock.GetTimestamp();
            }
        }
        catch (OperationCanceledException) when (http.Response.HasStarted)
        {
            // The listener went, PostgreSQL did, or the server ends: whoever is still there comes again with its last id.
        }
    }

    private static string Text(HistoryEvent e, bool ofOneVolume) => string.Create(
        CultureInfo.InvariantCulture,
        $"id: {(ofOneVolume ? e.Event : e.Sequence)}\ndata: {JsonSerializer.Serialize(e, ApiJson.Wire.HistoryEvent)}\n\n");

    private static long? LastEventId(HttpRequest request)
    {
        var text = request.Headers["Last-Event-ID"].ToString();
        if (text.Length == 0)
            return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw new LedgerException(ErrorCode.BadArgument, $"Last-Event-ID '{text}' is no number of an event", "send the id of an event");
    }
}
