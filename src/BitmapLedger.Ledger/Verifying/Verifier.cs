using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>Proves that live, projected and replayed bits are the same, and that stream and journals are
/// whole.</summary>
public sealed class Verifier(
    VolumeStreams streams, SettledLanes lanes, IAgent agent, Shipper shipper, EventReader reader, PointResolver points, BitmapBits rows,
    LedgerSettings settings, TimeProvider clock)
{
    /// <summary>Compares the bits of every bitmap at a point; the Agent's too when the point is now.</summary>
    public async Task<VerifyAnswer> VerifyAsync(string volume, string? at, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        if (at is not (null or "now"))
        {
            var past = await points.ResolveAsync(at, state, cancellation);
            return await CompareAsync(state, past, live: null, cancellation);
        }

        using var _ = await lanes.TakeAsync([state.Id], cancellation);
        var fence = (await agent.RotateAsync([new(state.Id, BitTransfer.Finest(state).Bytes)], cancellation))[0];
        var last = await shipper.ShipThroughAsync(state.Id, fence.Lsn, cancellation);
        var live = ((Digests)await agent.AskAsync(new Digest(state.Id, fence.Number), cancellation)).Bitmaps;
        await agent.AskAsync(
            Settlements.Unchanged(fence, state, agent.BitsDirectory), cancellation);
        var now = new ResolvedPoint("now", new(last, fence.Lsn, clock.GetUtcNow()));
        return await CompareAsync(state, now, live, cancellation);
    }

    /// <summary>Reads everything: each LSN of each stream once, every checksum, every journal.</summary>
    public async Task<CheckAnswer> CheckAsync(CancellationToken cancellation)
    {
        List<CheckedVolume> volumes = [];
        foreach (var state in await streams.AllAsync(cancellation))
            volumes.Add(await CheckAsync(state, cancellation));
        return new(volumes.TrueForAll(v => v.Damage.Count == 0), volumes);
    }

    private async Task<VerifyAnswer> CompareAsync(
        VolumeState state, ResolvedPoint at, IReadOnlyList<BitmapDigest>? live, CancellationToken cancellation)
    {
        using var replayed = await reader.ReplayAsync(state.Id, at.At, cancellation);
        var row = await rows.LoadAsync(state.Id, cancellation);
        var rowEvent = row.State.Event;
        // A row that is further than the point cannot go back; then the projection has nothing to say of it but itself.
        if (rowEvent > at.At.Event || (rowEvent == at.At.Event && at.At.Lsn < row.State.LastLsn))
        {
            row.Dispose();
            row = new();
        }

        using var projected = await reader.ReplayAsync(state.Id, row, at.At, cancellation);
        List<VerifiedBitmap> bitmaps = [];
        foreach (var bitmap in replayed.State.Bitmaps)
        {
            bitmaps.Add(new(
                bitmap.Name,
                live is null ? null : live.FirstOrDefault(d => d.Name == bitmap.Name)?.Sha256 ?? "missing",
                projected.State.Bitmap(bitmap.Name) is null ? "missing" : projected.Bits(bitmap.Name).Sha256(),
                replayed.Bits(bitmap.Name).Sha256()));
        }

        var equal = bitmaps.TrueForAll(b => b.Projected == b.Replayed && (b.Live is null || b.Live == b.Replayed))
            && (live is null || live.Count == bitmaps.Count);
        var parts = bitmaps.Exists(b => b.Projected != b.Replayed) ? rowEvent : at.At.Event;
        return new(state.Name, at.Answer, equal, equal ? null : parts, bitmaps);
    }

    private async Task<CheckedVolume> CheckAsync(VolumeState state, CancellationToken cancellation)
    {
        List<string> damage = [];
        long events = 0, writes = 0, lsn = 0;
        try
        {
            await foreach (var e in reader.ReadAsync(state.Id, 0, long.MaxValue, cancellation))
            {
                if (e.Version != ++events)
                    damage.Add($"stream of '{state.Name}': event {e.Version} stands where {events} is due");
                if (e.Data is TrackingLost lost)
                    lsn = lost.ToLsn;
                if (e.Data is not WritesRecorded { Packed: var packed })
                    continue;
                if (packed.FirstLsn != lsn + 1)
                    damage.Add($"stream of '{state.Name}', event {e.Version}: LSN {packed.FirstLsn} stands where {lsn + 1} is due");
                lsn = packed.LastLsn;
                writes += packed.Count;
            }
        }
        catch (Exception failure) when (failure.GetBaseException() is CorruptionException corruption)
        {
            damage.Add($"stream of '{state.Name}', behind event {events}: {corruption.Message}");
        }

        var journal = JournalCheck.Walk(settings.Journal(state.Id), state.Id);
        damage.AddRange(journal.Damage.Select(d => d.Message));
        return new(state.Name, events, writes, journal.Segments, journal.Writes, damage);
    }
}
