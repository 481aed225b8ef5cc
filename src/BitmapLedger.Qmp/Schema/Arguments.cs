using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Schema;

/// <summary>Arguments that were found to be of their declared types.</summary>
/// <param name="members">The members.</param>
public sealed class Arguments(JsonObject members)
{
    /// <summary>As they were sent.</summary>
    public JsonObject Members { get; } = members;

    /// <summary>A text that is there.</summary>
    public string Text(string name) => Members[name]!.GetValue<string>();

    /// <summary>A text, or null.</summary>
    public string? OptionalText(string name) => Members.ContainsKey(name) ? Text(name) : null;

    /// <summary>True or false; what it is when left out.</summary>
    public bool Boolean(string name, bool otherwise = false) => Members.ContainsKey(name) ? Members[name]!.GetValue<bool>() : otherwise;

    /// <summary>A signed integer that is there.</summary>
    public long Number(string name) => Members[name]!.GetValue<long>();

    /// <summary>A signed integer, or null.</summary>
    public long? OptionalNumber(string name) => Members.ContainsKey(name) ? Number(name) : null;

    /// <summary>An unsigned integer, or null.</summary>
    public ulong? OptionalNatural(string name) => UnsignedType.Read(Members[name]);

    /// <summary>The members of an object that is there.</summary>
    public Arguments Nested(string name) => new(Members[name]!.AsObject());

    /// <summary>The members of an object, or null.</summary>
    public Arguments? OptionalNested(string name) => Members[name] is JsonObject members ? new(members) : null;

    /// <summary>The elements of a list; none when it was left out.</summary>
    public IReadOnlyList<JsonNode?> List(string name) => Members[name] is JsonArray elements ? [.. elements] : [];

    /// <summary>The objects of a list; none when it was left out.</summary>
    public IEnumerable<Arguments> NestedList(string name) => List(name).Select(e => new Arguments(e!.AsObject()));
}
