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
        app.MapPost("/v1/verify", (VerifyRequest body, Verifier verifier, CancellationToken c) =>
            verifier.VerifyAsync(
                body.Volume ?? throw new LedgerException(ErrorCode.BadArgument, "'volume' is missing"), body.At, c));
        app.MapGet("/v1/check", (Verifier verifier, CancellationToken c) => verifier.CheckAsync(c));
    }

    private static async Task History(
        string v, string? from, string? to, string[]? type, long? offset, long? length, HttpContext http, Queries queries, CancellationToken c)
    {
        var answer = await queries.HistoryAsync(v, new(from, to, type ?? [], offset, length), c);
        if (!http.Request.Headers.Accept.ToString().Contains("application/x-ndjson", StringComparison.Ordinal))
        {
            await http.Response.WriteAsJsonAsync(answer, ApiJson.Default.HistoryAnswer, cancellationToken: c);
            return;
        }

        http.Response.ContentType = "application/x-ndjson";
        foreach (var e in answer.Events)
            await http.Response.WriteAsync(JsonSerializer.Serialize(e, ApiJson.Default.HistoryEvent) + "\n", c);
        await http.Response.WriteAsync($$"""{"type":"end","complete":true,"events":{{answer.Events.Count}}}""" + "\n", c);
    }
}
