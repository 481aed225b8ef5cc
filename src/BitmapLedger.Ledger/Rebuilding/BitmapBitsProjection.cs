using BitmapLedger.Domain;
using JasperFx.Events;
using Marten;
using Marten.Events.Projections;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// Keeps <see cref="BitmapBits"/> up to date under Marten's daemon. A page replaces rows, it never adds to them, and
/// skips
/// events that a row has already: seen twice is seen once.
/// </summary>
/// <param name="rows">The rows.</param>
public sealed class BitmapBitsProjection(BitmapBits rows) : IProjection
{
    /// <inheritdoc />
    public async Task ApplyAsync(
        IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        foreach (var stream in events.GroupBy(e => e.StreamId))
        {
            using var replay = await rows.LoadAsync(stream.Key, cancellation);
            foreach (var e in stream.Where(e => e.Version > replay.State.Event))
                if (e.Data is IVolumeEvent happened)
                    replay.Apply(happened, e.Version, e.Timestamp);
            BitmapBits.Store(operations, stream.Key, replay);
        }
    }
}
