using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Bitmaps as they are now: what the ledger knows of them, and whether an export of the Agent's keeps them in
/// use.</summary>
internal sealed class BitmapView(Queries queries, VolumeStreams streams, IAgent agent)
{
    /// <summary>The bitmaps of a volume, in QEMU's order, and the event that they stand at.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="bitmap">The one that is wanted; null for all.</param>
    /// <param name="cancellation">Ends the question.</param>
    public async Task<(IReadOnlyList<BitmapAnswer> Bitmaps, long Event)> NowAsync(
        string volume, string? bitmap, CancellationToken cancellation)
    {
        var replay = await queries.ReplayAsync(volume, "now", bitmap, format: null, cancellation);
        var state = await streams.FindAsync(volume, cancellation);
        var now = await NowAsync(state.Id, cancellation);
        var runs = state.Bitmaps.ToDictionary(b => b.Name, b => b.Run, StringComparer.Ordinal);
        var exported = now?.Exports.Shown(state.Id).ToHashSet(StringComparer.Ordinal) ?? [];
        var listed = BitmapOrder.Listed(replay.Bitmaps, b => runs.GetValueOrDefault(b.Name), now?.Run);
        return ([.. listed.Select(b => b with { Busy = b.Busy || exported.Contains(b.Name) })], replay.At.Event);
    }

    private async Task<Welcome?> NowAsync(Guid volume, CancellationToken cancellation)
    {
        try
        {
            return (Welcome)await agent.AskAsync(new Status([volume]), cancellation);
        }
        catch (LedgerException away) when (away.IsTransient)
        {
            // Whoever commands hears that the Agent is away; the ledger answers for itself.
            return null;
        }
    }
}
