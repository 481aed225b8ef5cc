using BitmapLedger.Contracts;

namespace BitmapLedger.Server;

/// <summary>
/// Answers as a stream of lines for <c>Accept: application/x-ndjson</c>: one for each element of the answer's list, and a last one
/// that says whether it is complete.
/// </summary>
internal static class AnswerLines
{
    /// <summary>Filters the answer of an endpoint.</summary>
    public static async ValueTask<object?> WriteAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var answer = await next(context);
        var http = context.HttpContext;
        if (answer is null or IResult || !Wanted(http.Request) || http.GetEndpoint()?.Metadata.GetMetadata<ListedAs>() is not { } lists)
            return answer;
        http.Response.ContentType = JsonLines.ContentType;
        await JsonLines.WriteAsync(http.Response.Body, answer, lists.Names, http.RequestAborted);
        return Results.Empty;
    }

    /// <summary>Whether a client asks for lines.</summary>
    public static bool Wanted(HttpRequest request) =>
        request.Headers.Accept.ToString().Contains(JsonLines.ContentType, StringComparison.OrdinalIgnoreCase);

    /// <summary>Names the list of an endpoint's answer; the first of several that is there.</summary>
    public static RouteHandlerBuilder Listed(this RouteHandlerBuilder endpoint, params IReadOnlyList<string> names) =>
        endpoint.WithMetadata(new ListedAs(names));

    private sealed record ListedAs(IReadOnlyList<string> Names);
}
