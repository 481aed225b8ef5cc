using BitmapLedger.Domain;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Where events stand among the writes of a volume.</summary>
internal static class EventLsn
{
    /// <summary>LSN of the last write that is in behind an event.</summary>
    public static long Last(IVolumeEvent happened) => happened switch
    {
        WritesRecorded writes => writes.Packed.LastLsn,
        HistoryCoalesced coalesced => coalesced.Coalesced.Span.LastLsn,
        ICommandEvent command => command.AtLsn,
        _ => 0,
    };
}
