using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using JasperFx.Events;
using Marten;
using Marten.Events.Projections;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Keeps <see cref="BitmapBits"/> up to date under Marten's daemon. A page replaces rows, it never adds to them, and skips
/// events that a row has already: seen twice is seen once. What a row holds depends on the stream and on the event it is at,
/// not on how the daemon cuts its pages.
/// </summary>
/// <param name="rows">The rows.</param>
public sealed class BitmapBitsProjection(BitmapBits rows) : IProjection
{
    /// <summary>Every so many events the writes go into the bitmaps. An event that does not fold replaces the bits of half as
    /// many events on average; one that does, those of every bitmap.</summary>
    private const int FoldEvents = 16;

    private readonly KeptReplays _kept = new();

    /// <inheritdoc />
    public async Task ApplyAsync(
        IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        foreach (var stream in events.GroupBy(e => e.StreamId))
        {
            var replay = await TakeAsync(stream.Key, cancellation);
            try
            {
                var storedEvent = replay.State.Event;
                foreach (var e in stream.Where(e => e.Version > storedEvent))
                    if (e.Data is IVolumeEvent happened)
                        Apply(replay, happened, e);
                BitmapBits.Store(operations, stream.Key, replay, storedEvent);
            }
            catch
            {
                replay.Dispose();
                throw;
            }

            _kept.Keep(stream.Key, replay);
        }
    }

    private static void Apply(BitmapReplay replay, IVolumeEvent happened, IEvent e)
    {
        replay.Apply(happened, e.Version, e.Timestamp);
        if (e.Version % FoldEvents == 0)
            replay.Fold();
    }

    /// <summary>A replay that stands where the row does: the one of the page before, if that was committed and nothing else
    /// happened to the row since.</summary>
    private async Task<BitmapReplay> TakeAsync(Guid volumeId, CancellationToken cancellation)
    {
        if (_kept.Take(volumeId) is { } kept)
        {
            if (await rows.EventAsync(volumeId, cancellation) == kept.State.Event)
            {
                kept.ForgetChangedSlices();
                return kept;
            }

            kept.Dispose();
        }

        return await rows.LoadAsync(volumeId, cancellation);
    }
}
