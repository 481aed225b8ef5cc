using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>
/// Compares bits that were got in several ways with those folded from the stream, and finds the first event at which any of
/// them part: for a block that is lacking the event that touched it first, of those whose blocks are in the bitmap; for a
/// block too many, where none is lacking, the event behind which the bitmap was empty last.
/// </summary>
/// <param name="look">The history.</param>
/// <param name="place">The volume at the position.</param>
/// <param name="at">The position.</param>
internal sealed class BitComparison(HistorySnapshot look, VolumeState place, Position at)
{
    /// <summary>What stands in an answer for the digest of bits that are not there.</summary>
    public const string Missing = "missing";

    /// <summary>The same for bits that cannot be read.</summary>
    public const string Damaged = "damaged";

    /// <summary>The first event at which any parted; null while all agree.</summary>
    public long? FirstDifference { get; private set; }

    /// <summary>Something parts at an event.</summary>
    public void PartAt(long number) => FirstDifference = Math.Min(FirstDifference ?? long.MaxValue, number);

    /// <summary>Compares bits with those that are right.</summary>
    /// <param name="wanted">What they are made of.</param>
    /// <param name="since">The event behind which they were empty last.</param>
    /// <param name="right">The right ones.</param>
    /// <param name="other">The others; null when they are not there.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>The digest of the others.</returns>
    public async Task<string> CompareAsync(
        WantedBits wanted, long since, NativeBitmap right, NativeBitmap? other, CancellationToken cancellation)
    {
        if (other is null)
        {
            PartAt(since);
            return Missing;
        }

        var digest = other.Sha256();
        if (digest == right.Sha256() && other.VolumeBytes == right.VolumeBytes)
            return digest;
        if (other.Granularity != right.Granularity)
        {
            PartAt(since);
            return digest;
        }

        // Where a block is lacking, the event that should have marked it is known; where one is too many, only from when on.
        using var lacking = right.Without(other);
        PartAt((lacking.CountDirty() > 0 ? await FirstTouchAsync(wanted, lacking, cancellation) : null) ?? since);
        return digest;
    }

    /// <summary>The first event of those that some bits are made of that touches any of some blocks; from the stream alone.</summary>
    private async Task<long?> FirstTouchAsync(WantedBits wanted, NativeBitmap blocks, CancellationToken cancellation)
    {
        var plan = BitPlan.Of(place, [wanted]);
        long? first = null;
        foreach (var gift in plan.Gifts)
        {
            using var given = await look.GivenAsync(gift.Origin, cancellation);
            if (Touches(given, gift.Path, blocks))
                first ??= gift.Origin.Event;
        }

        foreach (var stretch in plan.Stretches.TakeWhile(s => s.AfterEvent < (first ?? long.MaxValue)))
        {
            await foreach (var row in look.EventsAsync(stretch.AfterEvent, stretch.ThroughEvent, newestFirst: false, cancellation))
            {
                using var fold = new ChangeFold(stretch.Size, stretch.Granularity, new(row.Number - 1, 0, default), at);
                fold.Apply(row.Data(), row.Number);
                if (stretch.Into.Any(i => Touches(fold.Changed, i.Path, blocks)))
                    return Math.Min(row.Number, first ?? long.MaxValue);
            }
        }

        return first;
    }

    private static bool Touches(NativeBitmap touched, BitPath path, NativeBitmap blocks)
    {
        using var carried = new NativeBitmap(blocks.VolumeBytes, blocks.Granularity);
        path.Carry(touched, carried);
        foreach (var run in carried.Runs)
            if (blocks.TryFindRun(run.First, out var found) && found.First < run.End)
                return true;
        return false;
    }
}
