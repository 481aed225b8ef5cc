using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>Proves that live, projected and replayed bits are the same, and that stream and journals are
/// whole.</summary>
public sealed class Verifier(
    VolumeStreams streams, SettledLanes lanes, IAgent agent, Shipper shipper, PointResolver points, BitmapBits rows,
    HistoryIndex index, LedgerSettings settings, TimeProvider clock)
{
    /// <summary>Compares the bits of every bitmap and slice at a point; the Agent's too when the point is now.</summary>
    public async Task<VerifyAnswer> VerifyAsync(string volume, string? at, CancellationToken cancellation)
    {
        var state = await points.CurrentAsync(volume, cancellation);
        if (at is not (null or "now"))
        {
            var past = await points.ResolveAsync(at, state, cancellation);
            return await CompareAsync(state, past, live: null, cancellation);
        }

        using var _ = await lanes.TakeAsync([state.Id], cancellation);
        // Commands may have been carried out while the lane was waited for, and the Agent is told below what there is.
        state = await shipper.AskStateAsync(state.Id, cancellation);
        if (state.Removed)
            throw new LedgerException(ErrorCode.NotFound, $"Volume '{volume}' not found");
        var (now, live) = await LookAtAgentAsync(state, cancellation);
        using (live)
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

    private async Task<(ResolvedPoint Now, LiveBits Live)> LookAtAgentAsync(VolumeState state, CancellationToken cancellation)
    {
        var fence = (await agent.RotateAsync([new(state.Id, BitTransfer.Finest(state).Bytes)], cancellation))[0];
        LiveBits? live = null;
        try
        {
            var last = await shipper.ShipThroughAsync(state.Id, fence.Lsn, cancellation);
            var now = new ResolvedPoint("now", new(last, fence.Lsn, clock.GetUtcNow()));
            live = await LiveAsync(state, fence, now.At, cancellation);
            await agent.AskAsync(Settlements.Unchanged(fence, state, agent.BitsDirectory), cancellation);
            return (now, live);
        }
        catch
        {
            live?.Dispose();
            agent.MeetAgain();
            throw;
        }
    }

    /// <summary>What the Agent has at a fence. The bits themselves are read only where they seem to differ: they cannot be had
    /// once the fence is settled.</summary>
    private async Task<LiveBits> LiveAsync(VolumeState state, Fence fence, Position at, CancellationToken cancellation)
    {
        var live = new LiveBits(((Digests)await agent.AskAsync(new Digest(state.Id, fence.Number), cancellation)).Bitmaps);
        try
        {
            await using var look = await index.LookAsync(state.Id, cancellation);
            var place = await look.StateAsync(at.Event, cancellation);
            foreach (var bitmap in place.Bitmaps.Where(b => live.Digest(b.Name) is not null))
            {
                using var bits = await BitsReader.OneAsync(look, place, at, WantedBits.Of(bitmap), cancellation);
                if (bits.Map.Sha256() != live.Digest(bitmap.Name))
                    live.Add(bitmap.Name, await ForeignBits.ReadAsync(new(bitmap.Name, state.Id), fence, agent, cancellation));
            }

            return live;
        }
        catch (CorruptionException)
        {
            // What is damaged is found again, and named, by the comparison.
            return live;
        }
        catch
        {
            live.Dispose();
            throw;
        }
    }

    private async Task<VerifyAnswer> CompareAsync(
        VolumeState state, ResolvedPoint at, LiveBits? live, CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        using var replayed = new Refolding(new());
        await replayed.GoOnAsync(look, at.At, cancellation);
        using var row = await ProjectedBits.LoadAsync(rows, look, at.At, cancellation);
        if (replayed.StuckAt is { } stuck)
            return Stuck(state, at, live, replayed.Replay, row, stuck);

        var place = replayed.Replay.State;
        var comparison = new BitComparison(look, place, at.At);
        if (row.DamagedAt is { } damaged)
            comparison.PartAt(damaged);
        List<VerifiedBitmap> bitmaps = [];
        List<VerifiedSlice> slices = [];
        foreach (var bitmap in place.Bitmaps)
        {
            var right = replayed.Replay.Bits(bitmap.Name);
            bitmaps.Add(new(
                bitmap.Name, live is null ? null : await live.CompareAsync(comparison, bitmap, right, cancellation),
                await ProjectedAsync(WantedBits.Of(bitmap), bitmap.Since.Event, right, row.Bits(bitmap.Name)), right.Sha256()));
            foreach (var slice in bitmap.Slices)
            {
                var banked = replayed.Replay.SliceBits(bitmap.Name, slice.Number);
                slices.Add(new(
                    bitmap.Name, slice.Number, await ProjectedAsync(
                        WantedBits.Of(bitmap, slice), slice.From.Event, banked, row.SliceBits(bitmap.Name, slice.Number)),
                    banked.Sha256()));
            }
        }

        if (live is not null && live.Count != bitmaps.Count)
            comparison.PartAt(at.At.Event);
        return new(
            state.Name, at.Answer, comparison.FirstDifference is null, comparison.FirstDifference, bitmaps,
            slices.Count == 0 ? null : slices);

        // Both projections: the row, where it is not further than the point, and the tree.
        async Task<string> ProjectedAsync(WantedBits wanted, long since, NativeBitmap right, NativeBitmap? other)
        {
            var byRow = !row.IsThere ? null
                : row.DamagedAt is not null ? BitComparison.Damaged
                : await comparison.CompareAsync(wanted, since, right, other, cancellation);
            using var found = await BitsReader.OneAsync(look, place, at.At, wanted, cancellation);
            var byTree = await comparison.CompareAsync(wanted, since, right, found.Map, cancellation);
            return byRow is null || byRow == right.Sha256() ? byTree : byRow;
        }
    }

    /// <summary>The answer when an event is not what was written: nothing behind it can be replayed.</summary>
    private static VerifyAnswer Stuck(
        VolumeState state, ResolvedPoint at, LiveBits? live, BitmapReplay before, ProjectedBits row, long stuck) => new(
        state.Name, at.Answer, Equal: false, stuck,
        [
            .. before.State.Bitmaps.Select(b => new VerifiedBitmap(
                b.Name, live is null ? null : live.Digest(b.Name) ?? BitComparison.Missing,
                row.IsThere && row.DamagedAt is null ? row.Bits(b.Name)?.Sha256() ?? BitComparison.Missing : BitComparison.Damaged,
                BitComparison.Damaged)),
        ]);

    private async Task<CheckedVolume> CheckAsync(VolumeState state, CancellationToken cancellation)
    {
        List<string> damage = [];
        long events = 0, number = 0, writes = 0, lsn = 0;
        try
        {
            // One snapshot: what is coalesced meanwhile would seem to stand in the wrong place.
            await using var look = await index.LookAsync(state.Id, cancellation);
            await foreach (var row in look.EventsAsync(0, long.MaxValue, newestFirst: false, cancellation))
            {
                events++;
                var happened = row.Data();
                if (EventNumbers.First(happened, row.Number) is var due && due != number + 1)
                    damage.Add($"stream of '{state.Name}': event {due} stands where {number + 1} is due");
                number = row.Number;
                if (happened is TrackingLost lost)
                    lsn = lost.ToLsn;
                if (Writes(happened) is not var (first, last, count))
                    continue;
                if (first != lsn + 1)
                    damage.Add($"stream of '{state.Name}', event {number}: LSN {first} stands where {lsn + 1} is due");
                lsn = last;
                writes += count;
            }
        }
        catch (Exception failure) when (failure.GetBaseException() is CorruptionException corruption)
        {
            damage.Add($"stream of '{state.Name}', behind event {number}: {corruption.Message}");
        }

        try
        {
            var journal = JournalCheck.Walk(settings.Journal(state.Id), state.Id);
            damage.AddRange(journal.Damage.Select(d => d.Message));
            return new(state.Name, events, writes, journal.Segments, journal.Writes, damage);
        }
        catch (FormatVersionException later)
        {
            // Whether it is whole only the program knows that wrote it. The other volumes are no affair of it.
            damage.Add(later.Message);
            return new(state.Name, events, writes, JournalSegments: 0, JournalWrites: 0, damage);
        }
    }

    /// <summary>LSNs and number of the writes that an event holds, or stands for.</summary>
    private static (long First, long Last, long Count)? Writes(IVolumeEvent happened) => happened switch
    {
        WritesRecorded { Packed: var packed } => (packed.FirstLsn, packed.LastLsn, packed.Count),
        HistoryCoalesced { Coalesced.Span: var span } => (span.FirstLsn, span.LastLsn, span.Count),
        _ => null,
    };
}
