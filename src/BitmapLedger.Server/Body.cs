using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger;

namespace BitmapLedger.Server;

/// <summary>Reads the body of a request strictly: what is not understood is refused by its name, never passed over.</summary>
internal static class Body
{
    private static readonly JsonDocumentOptions _strict = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    /// <summary>Reads it; null when there is none.</summary>
    /// <exception cref="LedgerException">It is no JSON, or not of this type.</exception>
    public static async Task<T?> ReadOptionalAsync<T>(HttpContext http, JsonTypeInfo<T> type)
        where T : class
    {
        var some = await http.Request.BodyReader.ReadAsync(http.RequestAborted);
        var isEmpty = some.Buffer.IsEmpty;
        http.Request.BodyReader.AdvanceTo(some.Buffer.Start);
        return isEmpty ? null : await ReadAsync(http, type);
    }

    /// <summary>Reads it; Kestrel has bounded its size.</summary>
    /// <exception cref="LedgerException">It is no JSON, or not of this type.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext http, JsonTypeInfo<T> type)
    {
        using var document = await ParseAsync(http);
        var root = document.RootElement;
        if (root.ValueKind != JsonValueKind.Object)
            throw Bad($"the body is {Name(root.ValueKind)}, not an object");
        foreach (var member in root.EnumerateObject())
        {
            if (type.Properties.All(p => p.Name != member.Name))
                throw Bad($"unknown member '{member.Name}'", $"there are {string.Join(", ", type.Properties.Select(p => p.Name))}");
        }

        foreach (var member in root.EnumerateObject())
        {
            if (member.Value.ValueKind == JsonValueKind.Array && member.Value.EnumerateArray().Any(e => e.ValueKind == JsonValueKind.Null))
                throw Bad($"'{member.Name}' holds a null");
        }

        try
        {
            return root.Deserialize(type)!;
        }
        catch (JsonException wrong)
        {
            throw Refuse(root, type, wrong.Path);
        }
    }

    private static async Task<JsonDocument> ParseAsync(HttpContext http)
    {
        try
        {
            var document = await JsonDocument.ParseAsync(http.Request.Body, _strict, http.RequestAborted);
            if (IsText(document.RootElement))
                return document;
            document.Dispose();
            throw Bad("the body holds text that is no Unicode, or a zero character");
        }
        catch (JsonException wrong)
        {
            throw Bad($"the body is no JSON: {wrong.Message}");
        }
    }

    /// <summary>Half of a surrogate pair passes a parser and fails whoever reads it; a zero fails PostgreSQL.</summary>
    private static bool IsText(JsonElement element)
    {
        try
        {
            return element.ValueKind switch
            {
                JsonValueKind.String => !element.GetString()!.Contains('\0'),
                JsonValueKind.Array => element.EnumerateArray().All(IsText),
                JsonValueKind.Object => element.EnumerateObject().All(m => !m.Name.Contains('\0') && IsText(m.Value)),
                _ => true,
            };
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    private static LedgerException Refuse<T>(JsonElement root, JsonTypeInfo<T> type, string? path)
    {
        var member = type.Properties.FirstOrDefault(p => p.Name == Member(path));
        root.TryGetProperty(Member(path), out var value);
        // Numbers with a converter are sizes: theirs takes text too.
        if (member is { CustomConverter: not null } && member.PropertyType == typeof(long?) && value.ValueKind == JsonValueKind.String)
            return Bad($"'{value.GetString()}' is no {member.Name}", "write bytes, or a number with K, M, G, T or P");
        return Bad($"'{path?.TrimStart('$', '.')}' cannot be {Name(value.ValueKind)}", $"it is {Type(member?.PropertyType)}");
    }

    private static string Type(Type? property) =>
        property == typeof(string) ? "text"
            : property == typeof(bool) || property == typeof(bool?) ? "true or false"
            : property == typeof(long?) ? "a whole number"
            : "a list of texts";

    /// <summary>The outermost member of a path such as <c>$.volumes[1]</c>.</summary>
    private static string Member(string? path) => (path ?? "").TrimStart('$', '.').Split('[', '.')[0];

    private static string Name(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "text",
        JsonValueKind.Number => "a number",
        JsonValueKind.Null => "null",
        JsonValueKind.Object => "an object",
        _ => "true or false",
    };

    private static LedgerException Bad(string message, string? hint = null) => new(ErrorCode.BadArgument, message, hint);
}
