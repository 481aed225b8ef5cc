using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Storing;
using Microsoft.AspNetCore.Http.Features;

namespace BitmapLedger.Server;

/// <summary>
/// Leaves a handler that PostgreSQL hangs under: the client is told <c>busy</c>, and the request ends when the handler does. A
/// question that writes its answer itself is waited for, since two must not write.
/// </summary>
internal sealed class Unattended(PostgresWatch watch) : IEndpointFilter
{
    public async ValueTask<object?> InvokeAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var http = context.HttpContext;
        if (!PostgresGate.Guards(http.Request) || (HttpMethods.IsGet(http.Request.Method) && context.Arguments.Contains(http)))
            return await next(context);
        Task<object?>? handling = null;
        try
        {
            return await watch.AttendAsync(
                () => handling = next(context).AsTask(), http.Features.GetRequiredFeature<CancellationTokenSource>());
        }
        catch (LedgerException) when (handling is { IsCompleted: false })
        {
            // The connection is of no use to the client before the handler has let go of it.
            http.Response.Headers.Connection = "close";
            http.Response.OnCompleted(() => handling.ContinueWith(
                left => left.Exception, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default));
            throw;
        }
    }
}
