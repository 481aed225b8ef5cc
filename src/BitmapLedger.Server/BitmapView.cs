using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Bitmaps as they are now: what the ledger knows of them, and whether an export of the Agent's keeps them in
/// use.</summary>
internal sealed class BitmapView(Queries queries, VolumeStreams streams, IAgent agent)
{
    /// <summary>The bitmaps of a volume, newest first, and the event that they stand at.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="bitmap">The one that is wanted; null for all.</param>
    /// <param name="cancellation">Ends the question.</param>
    public async Task<(IReadOnlyList<BitmapAnswer> Bitmaps, long Event)> NowAsync(
        string volume, string? bitmap, CancellationToken cancellation)
    {
        var replay = await queries.ReplayAsync(volume, "now", bitmap, format: null, cancellation);
        var exported = await ExportedAsync(volume, cancellation);
        return ([.. replay.Bitmaps.Select(b => b with { Busy = b.Busy || exported.Contains(b.Name) })], replay.At.Event);
    }

    private async Task<HashSet<string>> ExportedAsync(string volume, CancellationToken cancellation)
    {
        try
        {
            var exports = await agent.ExportsAsync(cancellation);
            return exports.Exports.Count == 0
                ? []
                : [.. exports.Shown(await streams.IdAsync(volume, cancellation))];
        }
        catch (LedgerException away) when (away.IsTransient)
        {
            // Whoever commands hears that the Agent is away; the ledger answers for itself.
            return [];
        }
    }
}
