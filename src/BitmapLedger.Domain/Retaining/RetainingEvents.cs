using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Domain;

/// <summary>
/// Stands where events of single writes stood, at the number of the last of them: what a retention policy left of them.
/// Binary. It never stands for writes on both sides of another event.
/// </summary>
/// <param name="Coalesced">Which writes they were, and the blocks that they touched.</param>
public sealed record HistoryCoalesced(CoalescedWrites Coalesced) : IVolumeEvent
{
    /// <summary>Why an answer that ends or begins among the writes has a gap.</summary>
    public const string Why = "single writes were coalesced by retention of the history";

    /// <summary>Why an answer that needs writes whose blocks are forgotten has a gap.</summary>
    public const string WhyGone = "the history before was not kept";

    /// <summary>Whether a gap is one of coalesced writes.</summary>
    public static bool Makes(Gap gap) => gap.Why is Why or WhyGone;

    /// <summary>The stretch in which single writes are not known.</summary>
    public Gap Gap => new(Coalesced.Span.FirstLsn - 1, Coalesced.Span.LastLsn, Coalesced.IsGone ? WhyGone : Why);
}

/// <summary>Retention was applied to the history: older single writes were coalesced, and still older ones forgotten.</summary>
/// <param name="ExactFrom">From here on every single write is known.</param>
/// <param name="KeptFrom">Points before this can be asked about no more, but for checkpoints and slices; null when all can
/// be.</param>
/// <param name="Archive">Stream in which the replaced events lie until they are deleted; null when none was replaced.</param>
/// <param name="EventsBefore">Events that were replaced.</param>
/// <param name="EventsAfter">Events that stand for them.</param>
/// <param name="Writes">Single writes in them.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record HistoryRetained(
    Position ExactFrom, Position? KeptFrom, Guid? Archive, long EventsBefore, long EventsAfter, long Writes, long AtLsn)
    : ICommandEvent;
