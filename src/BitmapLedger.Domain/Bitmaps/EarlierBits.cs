using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>A volume whose bits are spoken of as those that its bitmaps had at some place.</summary>
internal sealed class EarlierBits
{
    private readonly IReadOnlyList<string> _names;

    private EarlierBits(IReadOnlyList<string> names, VolumeState state)
    {
        _names = names;
        State = state;
    }

    /// <summary>The volume, its bits as terms over <see cref="BitOrigin.Earlier"/>.</summary>
    public VolumeState State { get; }

    public static EarlierBits Of(VolumeState place)
    {
        List<string> names = [];
        List<BitmapState> bitmaps = [];
        foreach (var bitmap in place.Bitmaps)
        {
            bitmaps.Add(bitmap with
            {
                Bits = Earlier(bitmap.Name, bitmap.Granularity),
                Successor = bitmap.Successor is null ? null : Earlier(bitmap.SuccessorName, bitmap.Granularity),
            });
        }

        return new(names, place with { Bitmaps = bitmaps });

        BitExpression Earlier(string name, long granularity)
        {
            names.Add(name);
            return BitExpression.Of(new BitTerm(new BitOrigin.Earlier(names.Count - 1), new(granularity)));
        }
    }

    /// <summary>The same after one more event.</summary>
    public EarlierBits Apply(IVolumeEvent happened) => new(_names, State.Apply(happened, State.Event + 1, default));

    /// <summary>Which entry a term speaks of.</summary>
    public string Name(BitOrigin.Earlier earlier) => _names[earlier.Index];

    /// <summary>Every entry of a table of bits: bitmaps, newest first, each with its successor behind it.</summary>
    public IEnumerable<(string Name, long Granularity, bool Recording, BitExpression Bits)> Entries()
    {
        foreach (var bitmap in State.Bitmaps)
        {
            yield return (bitmap.Name, bitmap.Granularity, bitmap is { Recording: true, Successor: null }, bitmap.Bits);
            if (bitmap.Successor is { } successor)
                yield return (bitmap.SuccessorName, bitmap.Granularity, bitmap.Recording, successor);
        }
    }
}
