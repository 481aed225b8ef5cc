using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>
/// Whatever asks PostgreSQL is answered <c>busy</c> at once while it is away. A command that has begun is carried
/// through even when its client goes away: only an outage ends it.
/// </summary>
internal sealed class PostgresGate(RequestDelegate next, PostgresWatch watch, LedgerOpening opening)
{
    public async Task InvokeAsync(HttpContext context)
    {
        if (!Guards(context.Request))
        {
            await next(context);
            return;
        }

        opening.Require();
        var aborted = context.RequestAborted;
        // Not disposed of: what is left ends later.
        var leave = CancellationTokenSource.CreateLinkedTokenSource(
            HttpMethods.IsGet(context.Request.Method) ? aborted : CancellationToken.None);
        context.Features.Set(leave);
        try
        {
            await watch.WithAsync(away =>
            {
                context.RequestAborted = away;
                return next(context);
            }, leave.Token);
        }
        finally
        {
            // The client is still there and is told why.
            context.RequestAborted = aborted;
        }
    }

    /// <summary>Whether a request asks PostgreSQL, and not only how things are.</summary>
    public static bool Guards(HttpRequest request) => request.Path.StartsWithSegments("/v1", StringComparison.Ordinal);
}
