using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Verifying;

namespace BitmapLedger.Server;

/// <summary>Questions to history.</summary>
internal static class QueryEndpoints
{
    /// <summary>Writes of a blame that are found before they are written out.</summary>
    private const int BlamePageWrites = 1_000;

    public static void MapQueries(this IEndpointRouteBuilder app)
    {
        app.MapGet("/v1/volumes/{v}/changed", Changed).Listed("extents", "blocks")
            .WithSummary("What changed after one point, up to and including another");
        app.MapGet("/v1/volumes/{v}/replay", (
            string v, string? at, string? bitmap, string? format, Queries queries, CancellationToken c) =>
            queries.ReplayAsync(v, at ?? "now", bitmap, format, c))
            .Listed("bitmaps").WithSummary("Bitmaps as they were at a point");
        app.MapGet("/v1/volumes/{v}/history", History).Produces<HistoryAnswer>().WithSummary("The events of a volume, newest last");
        app.MapGet("/v1/volumes/{v}/blame", Blame).Produces<BlameAnswer>()
            .WithSummary("The single writes that touched some bytes, newest first");
        app.MapGet("/v1/volumes/{v}/heat", (
            string v, string? from, string? to, string? by, int? columns, int? rows, Heat heat, CancellationToken c) =>
        {
            var (first, last) = Range(from, to);
            return heat.AskAsync(v, first, last, by, columns, rows, c);
        }).WithSummary("How often each part of a volume was written, and when");
        app.MapPost("/v1/verify", async (HttpContext http, Verifier verifier, CancellationToken c) =>
        {
            var body = await Body.ReadAsync(http, ApiJson.Default.VerifyRequest);
            return await verifier.VerifyAsync(
                body.Volume ?? throw new LedgerException(ErrorCode.BadArgument, "'volume' is missing"), body.At, c);
        }).Takes<VerifyRequest>().Listed("bitmaps").WithSummary("Compares live, projected and replayed bits by digest");
        app.MapGet("/v1/check", (Verifier verifier, CancellationToken c) => verifier.CheckAsync(c))
            .Listed("volumes").WithSummary("Reads everything: journals, streams, checksums");
    }

    private static async Task<ChangedAnswer> Changed(
        string v, string? from, string? to, string? granularity, string? offset, string? length, string? format, Queries queries,
        CancellationToken c)
    {
        if (from is null)
            throw new LedgerException(ErrorCode.BadArgument, "'from' is missing", "write ?from=start, or another point");
        var (first, last) = PointRange.Split(from, to);
        var grain = Size("granularity", granularity);
        if (offset is null && length is null)
            return await queries.ChangedAsync(v, first, last, grain, format, c);
        var window = new ChangedWindow(Size("offset", offset), Size("length", length));
        return window.Of(await queries.ChangedAsync(v, first, last, grain, "extents", c), format);
    }

    private static async Task Blame(
        string v, string? offset, string? length, string? from, string? to, int? limit, HttpContext http, Blame blame, CancellationToken c)
    {
        var (first, last) = Range(from, to);
        var start = Size("offset", offset) ?? throw new LedgerException(
            ErrorCode.BadArgument, "'offset' is missing", "write ?offset=0&length=4096");
        if (!AnswerLines.Wanted(http.Request))
        {
            var answer = await blame.AskAsync(v, start, Size("length", length), first, last, limit, c);
            await http.Response.WriteAsJsonAsync(answer, ApiJson.Wire.BlameAnswer, cancellationToken: c);
            return;
        }

        var reading = await blame.BeginAsync(v, start, Size("length", length), first, last, limit, c);
        var lines = new LineWriter<BlameWrite>(http.Response, ApiJson.Wire.BlameWrite);
        for (var left = limit ?? Ledger.Reading.Blame.LimitDefault; left > 0 && !reading.IsComplete;)
        {
            var page = await reading.NextAsync(Math.Min(left, BlamePageWrites), c);
            left -= page.Count;
            foreach (var write in page)
                await lines.WriteAsync(write, c);
            await lines.FlushAsync(c);
        }

        var gaps = JsonSerializer.Serialize(reading.Gaps, ApiJson.Wire.IReadOnlyListGapAnswer);
        await lines.EndAsync($"\"complete\":{Json(reading.IsComplete)},\"exact\":{Json(reading.IsExact)},\"gaps\":{gaps}", c);

        static string Json(bool value) => value ? "true" : "false";
    }

    private static async Task History(
        string v, string? from, string? to, string[]? type, string? offset, string? length, int? limit, long? after, bool? follow,
        HttpContext http, Histories histories, IHostApplicationLifetime lifetime, CancellationToken aborted)
    {
        // Whoever follows must not hold up the end of the server.
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(aborted, lifetime.ApplicationStopping);
        var c = ending.Token;
        if (follow is true && limit is not null)
            throw new LedgerException(ErrorCode.BadArgument, "follow has no end, and limit names one", "leave one of them out");
        var (start, end) = Range(from, to);
        var filter = new HistoryFilter(start, end, type ?? [], Size("offset", offset), Size("length", length))
        {
            Limit = limit,
            After = after,
        };
        if (follow is not true && !AnswerLines.Wanted(http.Request))
        {
            var answer = await histories.AskAsync(v, filter, c);
            await http.Response.WriteAsJsonAsync(answer.Answer, ApiJson.Wire.HistoryAnswer, cancellationToken: c);
            return;
        }

        var lines = new LineWriter<HistoryEvent>(http.Response, ApiJson.Wire.HistoryEvent);
        HistoryPage? last = null;
        var exact = true;
        await foreach (var page in histories.PagesAsync(v, filter, c))
        {
            last = page;
            exact &= page.Answer.Exact is null;
            foreach (var e in page.Answer.Events)
                await lines.WriteAsync(e, c);
            await lines.FlushAsync(c);
        }

        if (follow is true)
        {
            await foreach (var e in histories.FollowAsync(last!.VolumeId, last.Through, filter, c))
            {
                await lines.WriteAsync(e, c);
                await lines.FlushAsync(c);
            }
        }

        var next = last!.Answer.Next;
        var cut = next is null ? "true" : $"false,\"next\":{next}";
        await lines.EndAsync($"\"complete\":{cut},\"events\":{lines.Count}{(exact ? "" : ",\"exact\":false")}", c);
    }

    /// <summary>Two points, or both in the first; one that is not named stays so.</summary>
    private static (string? From, string? To) Range(string? from, string? to) =>
        from is null ? (null, to) : PointRange.Split(from, to);

    /// <summary>A size of a query: bytes, or a number with a unit.</summary>
    private static long? Size(string name, string? text)
    {
        if (text is null)
            return null;
        return ByteSize.TryParse(text, out _)
            ?? throw new LedgerException(ErrorCode.BadArgument, $"'{text}' is no {name}", "write bytes, or a number with K, M, G, T or P");
    }
}
