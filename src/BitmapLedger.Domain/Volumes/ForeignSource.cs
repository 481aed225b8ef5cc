using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>Bits that a merge from another volume lacks: those of the foreign bitmap as they are at that place of the
/// transaction, said in bits from before it.</summary>
/// <param name="Volume">Volume of the event that lacks them.</param>
/// <param name="Event">Index of the event among the volume's.</param>
/// <param name="Source">Index of the source in the event.</param>
/// <param name="FromVolume">The foreign volume.</param>
/// <param name="Size">Its size then.</param>
/// <param name="Granularity">Bytes a bit of the foreign bitmap.</param>
/// <param name="From">Bitmaps of it, from before the transaction, whose bits flow in.</param>
/// <param name="Given">Events of it in this transaction whose bits flow in: index of the event, of the source, path.</param>
public sealed record ForeignSource(
    Guid Volume, int Event, int Source, Guid FromVolume, long Size, long Granularity, IReadOnlyList<BitFlow> From,
    IReadOnlyList<(int Event, int Source, BitPath Path)> Given)
{
    /// <summary>The event with the bits; events of earlier actions have theirs already.</summary>
    internal BitmapMerged Fill(
        IReadOnlyDictionary<Guid, List<IVolumeEvent>> volumes, Func<BitmapRef, NativeBitmap> before)
    {
        using var bits = new NativeBitmap(Size, BitmapLedger.Bitmaps.Granularity.FromBytes(Granularity));
        foreach (var flow in From)
            flow.Path.Carry(before(new(flow.Name, FromVolume)), bits);
        foreach (var (number, source, path) in Given)
        {
            using var given = GivenBits.Read(GivenBits.In(volumes[FromVolume][number], source));
            path.Carry(given, bits);
        }

        var lacking = (BitmapMerged)volumes[Volume][Event];
        var sources = lacking.Sources.ToArray();
        sources[Source] = sources[Source] with { Bits = BitmapCodec.Encode(bits) };
        return lacking with { Sources = sources };
    }
}
