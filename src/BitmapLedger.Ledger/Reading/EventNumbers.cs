using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Which numbers events stand for.</summary>
internal static class EventNumbers
{
    /// <summary>Number of the first event that an event stands for; all but coalesced writes stand for themselves.</summary>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number, which is the last that it stands for.</param>
    public static long First(IVolumeEvent happened, long number) =>
        happened is HistoryCoalesced { Coalesced.Span.FirstEvent: var first } ? first : number;
}
