using System.Runtime.CompilerServices;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Storing;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Reading;

/// <summary>A checkpoint as it is shown.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parent">The one before it; null for the oldest.</param>
/// <param name="At">Where it stands.</param>
/// <param name="Count">Bytes that changed since, in whole blocks of 64 KiB.</param>
/// <param name="Exact">False when that may be more than what changed.</param>
public sealed record CheckpointView(string Name, string? Parent, ResolvedPoint At, long Count, bool Exact);

/// <summary>
/// Reads checkpoints and what changed since each. A checkpoint is a name for a position and costs nothing to make; here one
/// pass over the stream, newest event first, serves them all.
/// </summary>
/// <param name="points">Finds volumes.</param>
/// <param name="streams">Has their checkpoints.</param>
/// <param name="reader">Reads events.</param>
public sealed class CheckpointReader(PointResolver points, VolumeStreams streams, EventReader reader)
{
    private const int PageEvents = 64;

    /// <summary>The checkpoints of a volume, oldest first.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume.</exception>
    public async Task<IReadOnlyList<CheckpointView>> ListAsync(string volume, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        var checkpoints = await streams.CheckpointsAsync(state.Id, cancellation);
        if (checkpoints.Count == 0)
            return [];
        // The whole of it: each checkpoint takes the count where the fold passes it.
        using var fold = new ChangeFold(
            state.Size, Granularity.Default, default, new Position(state.Event, state.LastLsn, default));
        var views = new CheckpointView[checkpoints.Count];
        var next = checkpoints.Count - 1;
        await foreach (var e in BackAsync(state.Id, checkpoints[0].Event - 1, state.Event, cancellation))
        {
            for (; next >= 0 && checkpoints[next].Event >= e.Version; next--)
            {
                var c = checkpoints[next];
                views[next] = new(
                    c.Name, next > 0 ? checkpoints[next - 1].Name : null,
                    new($"checkpoint:{c.Name}", new(c.Event, c.Lsn, c.Time)), fold.Changed.DirtyBytes, fold.IsExact);
            }

            fold.Apply((IVolumeEvent)e.Data, e.Version);
        }

        return views;
    }

    private async IAsyncEnumerable<IEvent> BackAsync(
        Guid volumeId, long after, long through, [EnumeratorCancellation] CancellationToken cancellation)
    {
        for (; through > after; through -= PageEvents)
        {
            List<IEvent> page = [];
            await foreach (var e in reader.ReadAsync(volumeId, Math.Max(after, through - PageEvents), through, cancellation))
                page.Add(e);
            for (var i = page.Count - 1; i >= 0; i--)
                yield return page[i];
        }
    }
}
