using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Retaining;

/// <summary>What of a history may be coalesced, and what may be forgotten. Pure.</summary>
/// <param name="ExactEvent">Writes up to this event are coalesced.</param>
/// <param name="KeptEvent">The earliest event that can still be asked about by number, LSN or time; 0 for all.</param>
/// <param name="GoneEvent">Writes up to this event are forgotten unless <paramref name="GoneState"/> holds them; 0 for
/// none. Not above <paramref name="KeptEvent"/>.</param>
/// <param name="GoneState">The volume behind <paramref name="GoneEvent"/>.</param>
/// <param name="Finest">The finest granularity along the history, up to now.</param>
public sealed record RetentionLimits(
    long ExactEvent, long KeptEvent, long GoneEvent, VolumeState GoneState, FinestGranularities Finest)
{
    /// <summary>
    /// The event up to which writes need be kept for the sake of bits only: behind it lies everything that can be asked
    /// about. A checkpoint and a slice stay what they are, and a slice that is yet to be banked begins where its bitmap does.
    /// </summary>
    /// <param name="now">The volume now, with all of its checkpoints.</param>
    /// <param name="keptEvent">The earliest event that can be asked about by number, LSN or time.</param>
    public static long OldestAsked(VolumeState now, long keptEvent) => ((IEnumerable<long>)
    [
        keptEvent,
        .. now.Checkpoints.Select(c => c.Event),
        .. now.Bitmaps.Select(b => b.Since.Event),
        .. now.Bitmaps.SelectMany(b => b.Slices).SelectMany(s => (long[])[s.From.Event, s.To.Event]),
        .. now.Backups.Select(b => b.Started.Event),
    ]).Min();

    /// <summary>Whether nothing that can be asked about needs the writes of an event.</summary>
    /// <param name="number">Its number.</param>
    public bool Forgets(long number) => number <= GoneEvent && !GoneState.Bitmaps.Any(b =>
        Holds(b.Bits, number) || (b.Successor is { } successor && Holds(successor, number))
        || b.Slices.Any(s => Holds(s.Bits, number)));

    private static bool Holds(BitExpression bits, long number) =>
        bits.Terms.Any(t => t.Origin is BitOrigin.Touched touched && touched.Has(number));
}
