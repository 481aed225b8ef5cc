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
}
