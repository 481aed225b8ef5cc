using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Schema;

internal sealed class ScalarType(Func<JsonValue, bool> isOf, Func<string, string> complaint) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        if (value is not JsonValue scalar || !isOf(scalar))
            throw new QmpException(complaint(fullName));
    }
}

/// <summary>Any text that can be kept: PostgreSQL has no zero character.</summary>
internal sealed class TextType : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        if (value is not JsonValue scalar || !scalar.TryGetValue<string>(out var text))
            throw new QmpException($"Invalid parameter type for '{fullName}', expected: string");
        if (text.Contains('\0'))
            throw new QmpException($"Parameter '{fullName}' holds a zero character");
    }
}

internal sealed class UnsignedType(ulong max, string typeName) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        if (Read(value) is not { } number)
            throw new QmpException($"Parameter '{fullName}' expects uint64");
        if (number > max)
            throw new QmpException($"Parameter '{name ?? "null"}' expects {typeName}");
    }

    internal static ulong? Read(JsonNode? value) =>
        value is not JsonValue scalar ? null
        : scalar.TryGetValue<long>(out var signed) ? unchecked((ulong)signed)
        : scalar.TryGetValue<ulong>(out var unsigned) ? unsigned
        : null;
}

internal sealed class EnumerationType(IReadOnlyList<string> words) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        Text.Check(value, name, fullName);
        var word = value!.GetValue<string>();
        if (!words.Contains(word, StringComparer.Ordinal))
            throw new QmpException($"Parameter '{name ?? "null"}' does not accept value '{word}'");
    }
}

internal sealed class ObjectType(IReadOnlyList<Member> members) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName) =>
        CheckMembers(RequireObject(value, fullName), fullName, members);
}

internal sealed class ListType(ArgumentType element) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        if (value is not JsonArray elements)
            throw new QmpException($"Invalid parameter type for '{fullName}', expected: array");
        for (var i = 0; i < elements.Count; i++)
            element.Check(elements[i], name: null, $"{fullName}[{i}]");
    }
}

internal sealed class TextOrObjectType(string typeName, IReadOnlyList<Member> members) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        if (value is JsonObject)
            CheckMembers(RequireObject(value, fullName), fullName, members);
        else if (value is JsonValue scalar && scalar.TryGetValue<string>(out _))
            Text.Check(value, name, fullName);
        else
            throw new QmpException($"Invalid parameter type for '{name ?? "null"}', expected: {typeName}");
    }
}

internal sealed class UnionType(
    IReadOnlyList<Member> common, string discriminator, IReadOnlyDictionary<string, IReadOnlyList<Member>> branches) : ArgumentType
{
    internal override void Check(JsonNode? value, string? name, string fullName)
    {
        var members = RequireObject(value, fullName);
        CheckMembers(members, fullName, common.Concat(Branch(members)));
    }

    /// <summary>Asked for only after the common members were found good.</summary>
    private IEnumerable<Member> Branch(JsonObject members)
    {
        foreach (var member in branches.GetValueOrDefault(members[discriminator]!.GetValue<string>()) ?? [])
            yield return member;
    }
}
