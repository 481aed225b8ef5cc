using System.Collections;
using System.Text;
using System.Text.Json;

namespace BitmapLedger.Contracts;

/// <summary>
/// A document as a stream: an object a line for each element of its list, and a last line <c>{"type":"end",…}</c> with
/// everything else of the document, without which a reader knows that the stream was cut. <c>complete</c> is false when the
/// document says so, or names a <c>next</c> page.
/// </summary>
public static class JsonLines
{
    /// <summary>Content type of such a stream.</summary>
    public const string ContentType = "application/x-ndjson";

    /// <summary>Lines go out so many bytes at once: an answer may have millions.</summary>
    private const int BufferBytes = 32 << 10;

    /// <summary>Writes the lines.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="json">The document, an object.</param>
    /// <param name="lists">Names of the list whose elements become lines, the first that is there; none: one line.</param>
    public static void Write(TextWriter output, string json, params IReadOnlyList<string> lists)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        var list = lists.FirstOrDefault(l => root.TryGetProperty(l, out var found) && found.ValueKind == JsonValueKind.Array);
        if (list is null)
        {
            output.WriteLine(json);
            output.WriteLine(End(root, _ => false));
            return;
        }

        foreach (var element in root.GetProperty(list).EnumerateArray())
            output.WriteLine(Line(element.GetRawText()));
        output.WriteLine(End(root, name => name != list));
    }

    /// <summary>Writes the lines of an answer as its list, and the lists in the elements of that, are gone through: memory does not grow
    /// with them.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="answer">The answer, of a type that <see cref="ApiJson"/> has.</param>
    /// <param name="lists">Names of the list whose elements become lines, the first that is there; none: one line.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public static async Task WriteAsync(Stream output, object answer, IReadOnlyList<string> lists, CancellationToken cancellation)
    {
        var members = ApiJson.Wire.GetTypeInfo(answer.GetType())!.Properties
            .Select(p => (p.Name, p.PropertyType, Value: p.Get!(answer)))
            .Where(m => m.Value is not null).ToList();
        var list = lists.FirstOrDefault(l => members.Exists(m => m.Name == l));
        await using var lines = new StreamWriter(output, bufferSize: BufferBytes, leaveOpen: true) { NewLine = "\n" };
        (Type? type, var hasLists) = (null, false);
        foreach (var element in list is null ? new[] { answer } : (IEnumerable)members.Find(m => m.Name == list).Value!)
        {
            if (element.GetType() != type)
            {
                type = element.GetType();
                hasLists = HasLists(type);
            }

            if (hasLists)
            {
                await lines.FlushAsync(cancellation);
                await JsonSerializer.SerializeAsync(output, element, type, ApiJson.Wire, cancellation);
                await lines.WriteLineAsync();
            }
            else
            {
                await lines.WriteLineAsync(Line(Json(element, type)).AsMemory(), cancellation);
            }
        }

        var rest = members.Where(m => m.Name != list).Select(m => $"\"{m.Name}\":{Json(m.Value!, m.PropertyType)}");
        using var root = JsonDocument.Parse($"{{{string.Join(',', rest)}}}");
        await lines.WriteLineAsync(End(root.RootElement, _ => list is not null).AsMemory(), cancellation);
    }

    /// <summary>The line of an element.</summary>
    /// <param name="json">The element: an object, or the number of a block.</param>
    public static string Line(string json) => json[0] == '{' ? json : $$"""{"block":{{json}}}""";

    /// <summary>The last line.</summary>
    /// <param name="root">The document.</param>
    /// <param name="belongs">Which of its members are to be in it, by their names.</param>
    public static string End(JsonElement root, Func<string, bool> belongs)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes, new() { Encoder = ApiJson.Encoder }))
        {
            writer.WriteStartObject();
            writer.WriteString("type", "end");
            writer.WriteBoolean("complete", root.TryGetProperty("complete", out var complete)
                ? complete.GetBoolean()
                : !root.TryGetProperty("next", out _));
            foreach (var property in root.EnumerateObject().Where(p => p.Name is not ("complete" or "type") && belongs(p.Name)))
                property.WriteTo(writer);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }

    /// <summary>Whether elements of a type have lists that are read while they are written.</summary>
    private static bool HasLists(Type type) => ApiJson.Wire.GetTypeInfo(type)!.Properties
        .Any(p => p.PropertyType.IsGenericType && p.PropertyType.GetGenericTypeDefinition() == typeof(IEnumerable<>));

    private static string Json(object value, Type type) => JsonSerializer.Serialize(value, type, ApiJson.Wire);
}
