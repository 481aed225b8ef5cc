using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Bitmaps;

/// <summary>Bits of a bitmap before, and what becomes of them on their way into one afterwards.</summary>
/// <param name="Name">Name of the entry before: a bitmap, or a <see cref="BitmapState.SuccessorName"/>.</param>
/// <param name="Path">What becomes of its bits; <see cref="BitPath.Steps"/> is what a settlement sends.</param>
public sealed record BitFlow(string Name, BitPath Path);

/// <summary>Bits that an event brought, and what becomes of them.</summary>
/// <param name="Bits">As <c>BitmapCodec</c> encodes them; <see cref="GivenBits.Read"/> reads them.</param>
/// <param name="Path">What becomes of them.</param>
public sealed record GivenFlow(byte[] Bits, BitPath Path);

/// <summary>
/// Where the bits of a bitmap come from when some events without writes have happened: the union of what flows in. This is
/// what a settlement tells the Agent: each transfer is one entry of its table, in this order, made of the entries of the
/// table before (at the fence, everything up to it folded in) and of given bits.
/// </summary>
/// <remarks>
/// <para>To carry one flow, for each dirty run of the source in whole blocks: round the stretch outward to the step's
/// granularity, cut it off at the step's clip (nothing is left of one that begins there or behind), and so on with the next
/// step; then mark what is left in the target, cut off at the size of the volume <i>afterwards</i>. <see
/// cref="BitPath.Carry(NativeBitmap, NativeBitmap)"/> does that. A flow of its own name with one step of its own granularity
/// and no clip keeps the bits as they are (in a map of the new size, where the volume was resized).</para>
/// <para>While jobs use a bitmap it has two entries: itself, which does not record, and its successor, whose name no bitmap
/// can have (<see cref="BitmapState.SuccessorName"/>) and which is not shown to clients. Slices are no entries: they never
/// flow into a bitmap, the ledger keeps their bits.</para>
/// </remarks>
/// <param name="Name">Name of the entry afterwards.</param>
/// <param name="Granularity">Bytes a bit of it.</param>
/// <param name="Recording">Whether writes mark it from here on.</param>
/// <param name="From">Entries before whose bits flow in.</param>
/// <param name="Given">Bits of the events that flow in.</param>
public sealed record BitTransfer(
    string Name, long Granularity, bool Recording, IReadOnlyList<BitFlow> From, IReadOnlyList<GivenFlow> Given)
{
    /// <summary>The transfers of a stretch of events without writes, whose foreign bits are given.</summary>
    /// <param name="before">The volume before them.</param>
    /// <param name="events">What happened.</param>
    public static IReadOnlyList<BitTransfer> Of(VolumeState before, IReadOnlyList<IVolumeEvent> events)
    {
        var symbolic = EarlierBits.Of(before);
        foreach (var happened in events)
            symbolic = symbolic.Apply(happened);
        return
        [
            .. symbolic.Entries().Select(e => new BitTransfer(
                e.Name, e.Granularity, e.Recording,
                [.. e.Bits.Terms.Where(t => t.Origin is BitOrigin.Earlier).Select(
                    t => new BitFlow(symbolic.Name((BitOrigin.Earlier)t.Origin), t.Path))],
                [.. e.Bits.Terms.Where(t => t.Origin is BitOrigin.Given).Select(
                    t => new GivenFlow(Carried((BitOrigin.Given)t.Origin, before, events), t.Path))])),
        ];
    }

    /// <summary>The finest granularity that any bitmap needs; 64 KiB when there is none.</summary>
    public static Granularity Finest(VolumeState state) => state.Bitmaps.Count == 0
        ? BitmapLedger.Bitmaps.Granularity.Default
        : BitmapLedger.Bitmaps.Granularity.FromBytes(state.Bitmaps.Min(b => b.Granularity));

    private static byte[] Carried(BitOrigin.Given given, VolumeState before, IReadOnlyList<IVolumeEvent> events) =>
        GivenBits.In(events[(int)(given.Event - before.Event - 1)], given.Index)
        ?? throw new InvalidOperationException($"The bits of source {given.Index} of event {given.Event} are still to be given.");
}
