using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>Bits that are folded from the events one by one, as far as these can be read. The creator disposes.</summary>
/// <param name="replay">Where the fold stands.</param>
internal sealed class Refolding(BitmapReplay replay) : IDisposable
{
    /// <summary>Where the fold stands.</summary>
    public BitmapReplay Replay => replay;

    /// <summary>The event at which it could not go on; null when it could.</summary>
    public long? StuckAt { get; private set; }

    /// <summary>Goes on up to a position, or to an event that cannot be read or cannot have happened.</summary>
    /// <param name="look">The history.</param>
    /// <param name="at">The position.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task GoOnAsync(HistorySnapshot look, Position at, CancellationToken cancellation)
    {
        var next = replay.State.Event + 1;
        await foreach (var row in look.EventsAsync(replay.State.Event, at.Event, newestFirst: false, cancellation))
        {
            if (!TryApply(row, next, at.Lsn))
            {
                StuckAt = next;
                return;
            }

            next = row.Number + 1;
        }

        if (next <= at.Event)
            StuckAt = next;
    }

    /// <inheritdoc />
    public void Dispose() => replay.Dispose();

    /// <summary>Whatever an event that is not what was written makes of the fold, it is this event that is wrong.</summary>
    private bool TryApply(EventRow row, long due, long throughLsn)
    {
        try
        {
            // Some of what was coalesced since may be in already.
            var happened = row.Data();
            if (EventNumbers.First(happened, row.Number) > due)
                return false;
            replay.Apply(happened, row.Number, row.Time, throughLsn);
            return true;
        }
        catch (Exception fault) when (fault is CorruptionException or ArgumentException or InvalidOperationException
            or KeyNotFoundException or NullReferenceException or System.Text.Json.JsonException)
        {
            return false;
        }
    }
}
