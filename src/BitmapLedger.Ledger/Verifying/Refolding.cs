using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;

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
            if (row.Number != next || !TryApply(row, at.Lsn))
            {
                StuckAt = next;
                return;
            }

            next++;
        }

        if (next <= at.Event)
            StuckAt = next;
    }

    /// <inheritdoc />
    public void Dispose() => replay.Dispose();

    /// <summary>Whatever an event that is not what was written makes of the fold, it is this event that is wrong.</summary>
    private bool TryApply(EventRow row, long throughLsn)
    {
        try
        {
            replay.Apply(row.Data(), row.Number, row.Time, throughLsn);
            return true;
        }
        catch (Exception fault) when (fault is CorruptionException or ArgumentException or InvalidOperationException
            or KeyNotFoundException or NullReferenceException or System.Text.Json.JsonException)
        {
            return false;
        }
    }
}
