using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Ledger.Indexing;
using JasperFx.Events;
using Marten;
using Marten.Events.Projections;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Keeps <see cref="BitmapBits"/> up to date under Marten's daemon. A page replaces rows, it never adds to them, and skips
/// events that a row has already: seen twice is seen once. Events that a row lacks are read from the stream: a page that was
/// under way when another version of the rows began to count went to the old one. What a row holds depends on the stream and
/// on the event it is at, not on how the daemon cuts its pages.
/// </summary>
/// <param name="rows">The rows.</param>
/// <param name="index">Reads what a row lacks.</param>
public sealed class BitmapBitsProjection(BitmapBits rows, HistoryIndex index) : IProjection
{
    private readonly KeptReplays _kept = new();

    /// <inheritdoc />
    public async Task ApplyAsync(
        IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        foreach (var stream in events.GroupBy(e => e.StreamId))
        {
            var (replay, version) = await TakeAsync(stream.Key, cancellation);
            try
            {
                var storedEvent = replay.State.Event;
                await FollowAsync(replay, stream.Key, stream.First().Version - 1, cancellation);
                foreach (var e in stream)
                    if (e.Version > replay.State.Event && e.Data is IVolumeEvent happened)
                        BitsFold.Apply(replay, happened, e.Version, e.Timestamp);
                BitmapBits.Store(operations, stream.Key, version, replay, storedEvent);
            }
            catch
            {
                replay.Dispose();
                throw;
            }

            _kept.Keep(stream.Key, replay);
        }
    }

    private async Task FollowAsync(BitmapReplay replay, Guid volumeId, long through, CancellationToken cancellation)
    {
        if (replay.State.Event >= through)
            return;
        await using var look = await index.LookAsync(volumeId, cancellation);
        await BitsFold.FollowAsync(replay, look, through, putDown: null, cancellation);
    }

    /// <summary>A replay that stands where the row does: the one of the page before, if that was committed and nothing else
    /// happened to the row since.</summary>
    private async Task<(BitmapReplay Replay, int Version)> TakeAsync(Guid volumeId, CancellationToken cancellation)
    {
        var (version, storedEvent) = await rows.PlaceAsync(volumeId, cancellation);
        if (_kept.Take(volumeId) is { } kept)
        {
            if (storedEvent == kept.State.Event)
            {
                kept.ForgetChangedSlices();
                return (kept, version);
            }

            kept.Dispose();
        }

        return (await rows.LoadAsync(volumeId, version, cancellation), version);
    }
}
