using System.Text.Json.Nodes;

namespace BitmapLedger.Qmp.Schema;

/// <summary>
/// The type of an argument, with the checks and texts of QEMU's visitors. Declared once; the same declaration is what a
/// command accepts and what is said about whatever else it is given.
/// </summary>
public abstract class ArgumentType
{
    /// <summary>Any text without zero characters.</summary>
    public static ArgumentType Text { get; } = new TextType();

    /// <summary>True or false.</summary>
    public static ArgumentType Boolean { get; } = new ScalarType(
        v => v.TryGetValue<bool>(out _), full => $"Invalid parameter type for '{full}', expected: boolean");

    /// <summary>A signed integer of 64 bits.</summary>
    public static ArgumentType Number { get; } = new ScalarType(
        v => v.TryGetValue<long>(out _), full => $"Invalid parameter type for '{full}', expected: integer");

    /// <summary>An unsigned integer of 32 bits; a negative one is taken for its two's complement, as in QEMU.</summary>
    public static ArgumentType Natural32 { get; } = new UnsignedType(uint.MaxValue, "uint32_t");

    /// <summary>One of some words.</summary>
    /// <param name="words">The words.</param>
    public static ArgumentType Enumeration(params IReadOnlyList<string> words) => new EnumerationType(words);

    /// <summary>An object.</summary>
    /// <param name="members">Its members, in the order in which they are checked.</param>
    public static ArgumentType Structure(params IReadOnlyList<Member> members) => new ObjectType(members);

    /// <summary>A list of one type.</summary>
    /// <param name="element">The type.</param>
    public static ArgumentType List(ArgumentType element) => new ListType(element);

    /// <summary>A text, or an object in its place.</summary>
    /// <param name="name">Name of the type in QEMU's schema; its error says it.</param>
    /// <param name="members">Members of the object.</param>
    public static ArgumentType TextOr(string name, params IReadOnlyList<Member> members) => new TextOrObjectType(name, members);

    /// <summary>An object whose further members depend on one of them.</summary>
    /// <param name="common">Members that all have.</param>
    /// <param name="discriminator">The one that decides, among <paramref name="common"/>.</param>
    /// <param name="branches">What it may say, and the members that go with it.</param>
    public static ArgumentType Union(
        IReadOnlyList<Member> common, string discriminator, IReadOnlyDictionary<string, IReadOnlyList<Member>> branches) =>
        new UnionType(common, discriminator, branches);

    /// <summary>Checks a value.</summary>
    /// <param name="value">The value; null is JSON's <c>null</c>.</param>
    /// <param name="name">Its own name, null for an element of a list: some of QEMU's texts say no more than that.</param>
    /// <param name="fullName">Where it stands, such as <c>actions[0].data.name</c>.</param>
    /// <exception cref="QmpException">It is not of this type.</exception>
    internal abstract void Check(JsonNode? value, string? name, string fullName);

    /// <summary>Checks the members of an object, in order, and that there are no others.</summary>
    internal static void CheckMembers(JsonObject members, string fullName, IEnumerable<Member> declared)
    {
        HashSet<string> known = new(StringComparer.Ordinal);
        foreach (var member in declared)
        {
            known.Add(member.Name);
            var full = Join(fullName, member.Name);
            if (members.TryGetPropertyValue(member.Name, out var value))
                member.Type.Check(value, member.Name, full);
            else if (member.IsRequired)
                throw new QmpException($"Parameter '{full}' is missing");
        }

        foreach (var (name, _) in members)
            if (!known.Contains(name))
                throw new QmpException($"Parameter '{Join(fullName, name)}' is unexpected");
    }

    private protected static JsonObject RequireObject(JsonNode? value, string fullName) =>
        value as JsonObject ?? throw new QmpException($"Invalid parameter type for '{fullName}', expected: object");

    private static string Join(string parent, string name) => parent.Length == 0 ? name : $"{parent}.{name}";
}
