using System.Text.Json.Serialization;
using BitmapLedger.Bitmaps;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>
/// The bits of a bitmap or slice without its bits: a union of terms over the stream, so that the bits can be had from the
/// stream or from any index of it. Terms that overlap or touch and went the same way are one, so it stays small: a bitmap
/// that was only ever enabled, cleared and banked has one term. Immutable; equal when it says the same.
/// </summary>
/// <remarks>
/// As text, and so in JSON, the terms stand with spaces between: <c>3..</c> is touched since event 3, <c>3..17</c> between
/// events 3 and 17, <c>#7.0</c> given by event 7 as its first source; behind it the path, as <c>/65536</c> for rounded to
/// 64 KiB and <c>/65536&lt;1048576</c> for cut off at 1 MiB after that.
/// </remarks>
[JsonConverter(typeof(BitExpressionJson))]
public sealed class BitExpression : IEquatable<BitExpression>
{
    private BitExpression(IReadOnlyList<BitTerm> terms) => Terms = terms;

    /// <summary>No bit.</summary>
    public static BitExpression Empty { get; } = new([]);

    /// <summary>The terms, in a fixed order.</summary>
    public IReadOnlyList<BitTerm> Terms { get; }

    /// <summary>The union of some terms.</summary>
    public static BitExpression Of(params IEnumerable<BitTerm> terms) => new(Normal(terms));

    /// <summary>What is touched from an event on.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="granularity">Bytes a bit of the bitmap that records.</param>
    public static BitExpression Since(long number, long granularity) =>
        new([new(new BitOrigin.Touched(number, To: null), new(granularity))]);

    /// <summary>This and others.</summary>
    public BitExpression With(params IEnumerable<BitExpression> others) => Of([.. Terms, .. others.SelectMany(o => o.Terms)]);

    /// <summary>This as it is at an event: what goes on ends there.</summary>
    public BitExpression Until(long number) => Of(Terms.Select(t => Until(t, number)));

    /// <summary>This after the volume shrank at an event; what goes on goes on behind it.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="granularity">Bytes a bit of the bitmap.</param>
    /// <param name="size">Bytes of the volume from there on.</param>
    public BitExpression Shrunk(long number, long granularity, long size) => Of(
    [
        .. Terms.Select(t => Until(t, number) with { Path = t.Path.Shrunk(granularity, size) }),
        .. Terms.Where(IsOpen).Select(t => t with { Origin = new BitOrigin.Touched(number, To: null) }),
    ]);

    /// <summary>This after the bitmap was merged into another at an event.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="from">Bytes a bit of this bitmap.</param>
    /// <param name="into">Bytes a bit of the other.</param>
    /// <param name="size">Bytes of the volume.</param>
    public BitExpression Merged(long number, long from, long into, long size) =>
        Of(Terms.Select(t => Until(t, number) with { Path = t.Path.Merged(from, into, size) }));

    /// <summary>Whether bytes that an event touched are in it.</summary>
    /// <param name="number">Number of the event.</param>
    /// <param name="extent">The bytes.</param>
    public bool Holds(long number, Extent extent) =>
        Terms.Any(t => t.Origin is BitOrigin.Touched touched && touched.Has(number) && t.Path.Carry(extent) is not null);

    /// <summary>Reads what <see cref="ToString"/> wrote.</summary>
    /// <exception cref="FormatException">It is no expression.</exception>
    public static BitExpression Parse(string text) => BitExpressionText.Parse(text);

    /// <inheritdoc />
    public override string ToString() => string.Join(' ', Terms);

    /// <inheritdoc />
    public bool Equals(BitExpression? other) => other is not null && Terms.SequenceEqual(other.Terms);

    /// <inheritdoc />
    public override bool Equals(object? obj) => Equals(obj as BitExpression);

    /// <inheritdoc />
    public override int GetHashCode() => Terms.Aggregate(0, HashCode.Combine);

    private static bool IsOpen(BitTerm term) => term.Origin is BitOrigin.Touched { To: null };

    private static BitTerm Until(BitTerm term, long number) =>
        term.Origin is BitOrigin.Touched { To: null } open ? term with { Origin = open with { To = number } } : term;

    private static List<BitTerm> Normal(IEnumerable<BitTerm> terms)
    {
        var all = terms.ToList();
        List<BitTerm> normal = [.. all.Where(t => t.Origin is not BitOrigin.Touched).Distinct()];
        foreach (var path in all.GroupBy(t => t.Path))
        {
            BitOrigin.Touched? last = null;
            foreach (var next in path.Select(t => t.Origin).OfType<BitOrigin.Touched>()
                .Where(t => t.To is not { } to || t.From + 1 < to).OrderBy(t => t.From))
            {
                if (last is not null && (last.To ?? long.MaxValue) >= next.From)
                {
                    last = last with { To = last.To is { } a && next.To is { } b ? Math.Max(a, b) : null };
                    normal[^1] = new(last, path.Key);
                    continue;
                }

                last = next;
                normal.Add(new(last, path.Key));
            }
        }

        normal.Sort((a, b) => string.CompareOrdinal(Order(a), Order(b)));
        return normal;
    }

    private static string Order(BitTerm term) => term.Origin switch
    {
        BitOrigin.Touched touched => $"a{touched.From:d19}{term.Path}",
        BitOrigin.Given given => $"b{given.Event:d19}.{given.Index:d10}{term.Path}",
        BitOrigin.Earlier earlier => $"c{earlier.Index:d10}{term.Path}",
        _ => "",
    };
}
