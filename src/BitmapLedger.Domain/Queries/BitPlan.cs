using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Queries;

/// <summary>A bitmap or slice whose bits are wanted.</summary>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Bits">What its bits are made of.</param>
public sealed record WantedBits(Granularity Granularity, BitExpression Bits)
{
    /// <summary>Those of a bitmap, without its successor's.</summary>
    public static WantedBits Of(BitmapState bitmap) => new(Granularity.FromBytes(bitmap.Granularity), bitmap.Bits);

    /// <summary>Those of a slice of a bitmap.</summary>
    public static WantedBits Of(BitmapState bitmap, SliceState slice) => new(Granularity.FromBytes(bitmap.Granularity), slice.Bits);
}

/// <summary>Events whose touched blocks flow alike into some of the wanted bits.</summary>
/// <param name="AfterEvent">The last event before them.</param>
/// <param name="ThroughEvent">The last of them.</param>
/// <param name="Size">Bytes of the volume, the same at each of them.</param>
/// <param name="Granularity">Coarsest granularity at which they may be summed up.</param>
/// <param name="Into">Which of the wanted bits, and what becomes of the blocks on the way there.</param>
public sealed record BitStretch(
    long AfterEvent, long ThroughEvent, long Size, Granularity Granularity, IReadOnlyList<(int Wanted, BitPath Path)> Into);

/// <summary>Bits that an event carries and that flow into one of the wanted.</summary>
/// <param name="Origin">The event, and which of its sources.</param>
/// <param name="Wanted">Which of the wanted bits.</param>
/// <param name="Path">What becomes of them on the way there.</param>
public sealed record BitGift(BitOrigin.Given Origin, int Wanted, BitPath Path);

/// <summary>
/// How bits are had from an index of the stream: which stretches of it are to be summed up, each once however many bitmaps
/// hold it, and which events carry bits themselves. No stretch holds an event that changes the size of the volume: what a
/// shrink cut off was touched for a range of changes and is not for a bitmap, and a gap touches what the volume had then.
/// </summary>
/// <param name="Stretches">The stretches, oldest first.</param>
/// <param name="Gifts">The events that carry bits, oldest first.</param>
public sealed record BitPlan(IReadOnlyList<BitStretch> Stretches, IReadOnlyList<BitGift> Gifts)
{
    /// <summary>Plans how some bits of a volume are had.</summary>
    /// <param name="place">The volume where the bits are wanted.</param>
    /// <param name="wanted">Which.</param>
    public static BitPlan Of(VolumeState place, IReadOnlyList<WantedBits> wanted)
    {
        List<Flow> flows = [];
        List<BitGift> gifts = [];
        foreach (var (bits, index) in wanted.Select((w, i) => (w.Bits, i)))
        {
            foreach (var term in bits.Terms)
            {
                if (term.Origin is BitOrigin.Given given)
                    gifts.Add(new(given, index, term.Path));
                else if (term.Origin is BitOrigin.Touched touched)
                    flows.Add(new(touched.From, Math.Min(place.Event, touched.To - 1 ?? long.MaxValue), index, term.Path));
            }
        }

        gifts.Sort((a, b) => (a.Origin.Event, a.Origin.Index).CompareTo((b.Origin.Event, b.Origin.Index)));
        return new(Stretch(place, flows), gifts);
    }

    private static List<BitStretch> Stretch(VolumeState place, List<Flow> flows)
    {
        HashSet<long> resizes = [.. place.Sizes.Skip(1).Select(s => s.Event)];
        long[] ends =
        [
            .. flows.SelectMany(f => (long[])[f.After, f.Through]).Concat(resizes.SelectMany(r => (long[])[r - 1, r])).Distinct().Order(),
        ];
        var starting = flows.Where(f => f.After < f.Through).ToLookup(f => f.After);
        List<Flow> open = [];
        List<BitStretch> stretches = [];
        for (var i = 0; i + 1 < ends.Length; i++)
        {
            open.RemoveAll(f => f.Through <= ends[i]);
            open.AddRange(starting[ends[i]]);
            if (open.Count == 0 || resizes.Contains(ends[i + 1]))
                continue;
            var finest = Granularity.FromBytes(open.Min(f => f.Path.Steps.First().Granularity));
            stretches.Add(new(
                ends[i], ends[i + 1], place.SizeAt(ends[i + 1]), finest, [.. open.Select(f => (f.Wanted, f.Path))]));
        }

        return stretches;
    }

    private sealed record Flow(long After, long Through, int Wanted, BitPath Path);
}
