using BitmapLedger.Ledger.Measuring;

namespace BitmapLedger.Server;

/// <summary>Measures questions to history, from the request until the last byte of the answer.</summary>
internal static class QueryTimes
{
    private static readonly HashSet<string> _queries = ["changed", "replay", "history", "blame", "heat", "verify", "check"];

    public static async Task MeasureAsync(HttpContext context, RequestDelegate next)
    {
        var pattern = (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "";
        var query = pattern[(pattern.LastIndexOf('/') + 1)..];
        // Whoever follows history asks a question that has no end.
        if (!_queries.Contains(query) || context.Request.Query.ContainsKey("follow"))
        {
            await next(context);
            return;
        }

        var clock = context.RequestServices.GetRequiredService<TimeProvider>();
        using var span = LedgerTelemetry.Source.StartActivity($"query {query}");
        var begun = clock.GetTimestamp();
        try
        {
            await next(context);
        }
        finally
        {
            LedgerTelemetry.QuerySeconds.Record(clock.GetElapsedTime(begun).TotalSeconds, new KeyValuePair<string, object?>("query", query));
        }
    }
}
