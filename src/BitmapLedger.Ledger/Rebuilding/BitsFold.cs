using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Takes events into projected bits. What comes of it depends on the events and on the last of them, not on how they are
/// cut: writes go into the bitmaps with every sixteenth event and with every command.
/// </summary>
internal static class BitsFold
{
    /// <summary>Every so many events the writes go into the bitmaps. An event that does not fold replaces the bits of half as
    /// many events on average; one that does, those of every bitmap.</summary>
    private const int FoldEvents = 16;

    /// <summary>Takes in one event.</summary>
    public static void Apply(BitmapReplay replay, IVolumeEvent happened, long number, DateTimeOffset time)
    {
        replay.Apply(happened, number, time);
        if (number % FoldEvents == 0)
            replay.Fold();
    }

    /// <summary>Takes in every event up to one, as the stream has them. Of the foldings on the way only the last is made: those
    /// before it add up to the same.</summary>
    /// <param name="replay">Goes on from where it is.</param>
    /// <param name="look">The stream.</param>
    /// <param name="through">The last event; also the one that was coalesced over it.</param>
    /// <param name="putDown">Puts the replay down on the way; null for not at all.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="CorruptionException">An event is not what was written.</exception>
    public static async Task FollowAsync(
        BitmapReplay replay, HistorySnapshot look, long through, PutDown? putDown, CancellationToken cancellation)
    {
        var lastFold = through - through % FoldEvents;
        await foreach (var e in EventsAhead.ReadAsync(look, replay.State.Event, through, cancellation))
        {
            if (e.Command is { } command)
                replay.Apply(command, e.Number, e.Time);
            else
                Require(replay.ApplyWrites(e.Packed, e.Number), e.Number);
            var whole = e.Number % FoldEvents == 0;
            var due = putDown is not null && whole && putDown.IsDue;
            if (due || (whole && e.Number >= lastFold))
                replay.Fold();
            if (due)
                await putDown!.NowAsync();
        }
    }

    private static void Require(CodecFault fault, long number)
    {
        if (fault != CodecFault.None)
            throw new CorruptionException($"event {number} of a volume's stream", 0, fault.ToString());
    }
}
