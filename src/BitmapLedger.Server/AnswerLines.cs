using System.Collections;
using System.Text.Json;
using BitmapLedger.Contracts;

namespace BitmapLedger.Server;

/// <summary>
/// Answers as a stream of lines for <c>Accept: application/x-ndjson</c>: one for each element of the answer's list, and a last one
/// that says whether it is complete.
/// </summary>
internal static class AnswerLines
{
    /// <summary>Lines go out so many bytes at once: an answer may have millions.</summary>
    private const int BufferBytes = 32 << 10;

    /// <summary>Filters the answer of an endpoint.</summary>
    public static async ValueTask<object?> WriteAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        var answer = await next(context);
        var http = context.HttpContext;
        if (answer is null or IResult || !Wanted(http.Request) || http.GetEndpoint()?.Metadata.GetMetadata<ListedAs>() is not { } lists)
            return answer;
        await WriteAsync(http.Response, answer, lists.Names, http.RequestAborted);
        return Results.Empty;
    }

    /// <summary>Writes the elements as they are gone through, so that memory does not grow with the answer.</summary>
    private static async Task WriteAsync(HttpResponse response, object answer, IReadOnlyList<string> lists, CancellationToken aborted)
    {
        var members = ApiJson.Wire.GetTypeInfo(answer.GetType())!.Properties
            .Select(p => (p.Name, p.PropertyType, Value: p.Get!(answer)))
            .Where(m => m.Value is not null).ToList();
        var list = lists.FirstOrDefault(l => members.Exists(m => m.Name == l));
        response.ContentType = JsonLines.ContentType;
        await using var lines = new StreamWriter(response.Body, bufferSize: BufferBytes, leaveOpen: true) { NewLine = "\n" };
        foreach (var element in list is null ? new[] { answer } : (IEnumerable)members.Find(m => m.Name == list).Value!)
            await lines.WriteLineAsync(JsonLines.Line(Json(element, element.GetType())).AsMemory(), aborted);
        var rest = members.Where(m => m.Name != list).Select(m => $"\"{m.Name}\":{Json(m.Value!, m.PropertyType)}");
        using var root = JsonDocument.Parse($"{{{string.Join(',', rest)}}}");
        await lines.WriteLineAsync(JsonLines.End(root.RootElement, _ => list is not null).AsMemory(), aborted);
    }

    private static string Json(object value, Type type) => JsonSerializer.Serialize(value, type, ApiJson.Wire);

    /// <summary>Whether a client asks for lines.</summary>
    public static bool Wanted(HttpRequest request) =>
        request.Headers.Accept.ToString().Contains(JsonLines.ContentType, StringComparison.OrdinalIgnoreCase);

    /// <summary>Names the list of an endpoint's answer; the first of several that is there.</summary>
    public static RouteHandlerBuilder Listed(this RouteHandlerBuilder endpoint, params IReadOnlyList<string> names) =>
        endpoint.WithMetadata(new ListedAs(names));

    private sealed record ListedAs(IReadOnlyList<string> Names);
}
