using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Verifying;

namespace BitmapLedger.Server;

/// <summary>Questions to history.</summary>
internal static class QueryEndpoints
{
    public static void MapQueries(this WebApplication app)
    {
        app.MapGet("/v1/volumes/{v}/changed", (
            string v, string? from, string? to, long? granularity, string? format, Queries queries, CancellationToken c) =>
            queries.ChangedAsync(
                v, from ?? throw new LedgerException(
                    ErrorCode.BadArgument, "'from' is missing", "write ?from=start, or another point"),
                to, granularity, format, c));
        app.MapGet("/v1/volumes/{v}/replay", (
            string v, string? at, string? bitmap, string? format, Queries queries, CancellationToken c) =>
            queries.ReplayAsync(v, at ?? "now", bitmap, format, c));
        app.MapGet("/v1/volumes/{v}/history", History);
        app.MapGet("/v1/volumes/{v}/blame", (
            string v, long? offset, long? length, string? from, string? to, int? limit, Blame blame, CancellationToken c) =>
            blame.AskAsync(
                v, offset ?? throw new LedgerException(
                    ErrorCode.BadArgument, "'offset' is missing", "write ?offset=0&length=4096"),
                length, from, to, limit, c));
        app.MapPost("/v1/verify", async (HttpContext http, Verifier verifier, CancellationToken c) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.VerifyRequest);
            return await verifier.VerifyAsync(
                body.Volume ?? throw new LedgerException(ErrorCode.BadArgument, "'volume' is missing"), body.At, c);
        });
        app.MapGet("/v1/check", (Verifier verifier, CancellationToken c) => verifier.CheckAsync(c));
    }

    private static async Task History(
        string v, string? from, string? to, string[]? type, long? offset, long? length, bool? follow, HttpContext http, Queries queries,
        IHostApplicationLifetime lifetime, CancellationToken aborted)
    {
        // Whoever follows must not hold up the end of the server.
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(aborted, lifetime.ApplicationStopping);
        var c = ending.Token;
        var filter = new HistoryFilter(from, to, type ?? [], offset, length);
        var answer = await queries.HistoryAsync(v, filter, c);
        if (follow is not true && !http.Request.Headers.Accept.ToString().Contains("application/x-ndjson", StringComparison.Ordinal))
        {
            await http.Response.WriteAsJsonAsync(answer.Answer, ApiJson.Default.HistoryAnswer, cancellationToken: c);
            return;
        }

        http.Response.ContentType = "application/x-ndjson";
        var count = 0;
        foreach (var e in answer.Answer.Events)
            await LineAsync(e);
        if (follow is true)
        {
            await http.Response.Body.FlushAsync(c);
            await foreach (var e in queries.FollowAsync(answer.VolumeId, answer.Through, filter, c))
            {
                await LineAsync(e);
                await http.Response.Body.FlushAsync(c);
            }
        }

        await http.Response.WriteAsync($$"""{"type":"end","complete":true,"events":{{count}}}""" + "\n", c);

        Task LineAsync(HistoryEvent e)
        {
            count++;
            return http.Response.WriteAsync(JsonSerializer.Serialize(e, ApiJson.Default.HistoryEvent) + "\n", c);
        }
    }
}
