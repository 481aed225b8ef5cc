using BitmapLedger.Bitmaps;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>A checkpoint as it is shown.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Parent">The one before it; null for the oldest.</param>
/// <param name="At">Where it stands.</param>
/// <param name="Count">Bytes that changed since, in whole blocks of 64 KiB.</param>
/// <param name="Exact">False when that may be more than what changed.</param>
public sealed record CheckpointView(string Name, string? Parent, ResolvedPoint At, long Count, bool Exact);

/// <summary>
/// Reads checkpoints and what changed since each. A checkpoint is a name for a position and costs nothing to make; here the
/// ranges between them are read newest first, and each adds to the one before.
/// </summary>
/// <param name="points">Finds volumes.</param>
/// <param name="streams">Has their checkpoints.</param>
/// <param name="changes">Reads what changed.</param>
public sealed class CheckpointReader(PointResolver points, VolumeStreams streams, ChangeReader changes)
{
    /// <summary>The checkpoints of a volume, oldest first.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume.</exception>
    public async Task<IReadOnlyList<CheckpointView>> ListAsync(string volume, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        // One that was made since is behind what is counted here.
        var checkpoints = (await streams.CheckpointsAsync(state.Id, cancellation)).Where(c => c.Event <= state.Event).ToList();
        var views = new CheckpointView[checkpoints.Count];
        var next = checkpoints.Count - 1;
        await changes.CountSinceAsync(
            state.Id, state.Size, Granularity.Default, [.. checkpoints.Select(c => c.Event)],
            new(state.Event, state.LastLsn, default), (count, exact) =>
            {
                var c = checkpoints[next];
                var parent = next > 0 ? checkpoints[next - 1].Name : null;
                views[next--] = new(c.Name, parent, new($"checkpoint:{c.Name}", new(c.Event, c.Lsn, c.Time)), count, exact);
            }, cancellation);
        return views;
    }
}
