using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Which single writes touched some bytes, and who still holds them.</summary>
/// <param name="points">Resolves points.</param>
/// <param name="streams">Has the checkpoints.</param>
/// <param name="index">The history, and the tree over it.</param>
public sealed class Blame(PointResolver points, VolumeStreams streams, HistoryIndex index)
{
    /// <summary>Writes named when nobody says how many.</summary>
    public const int LimitDefault = 100;

    /// <summary>Most writes of one answer.</summary>
    public const int LimitMax = 1_000_000;

    /// <summary>The writes, newest first.</summary>
    public async Task<BlameAnswer> AskAsync(
        string volume, long offset, long? length, string? from, string? to, int? limit, CancellationToken cancellation)
    {
        if (limit is < 1 or > LimitMax)
            throw new LedgerException(ErrorCode.BadArgument, $"{limit} is no limit", $"take 1 to {LimitMax}");
        var state = await points.CurrentAsync(volume, cancellation);
        if (offset < 0 || offset >= state.Size || length is <= 0)
            throw new LedgerException(
                ErrorCode.BadArgument, $"offset {offset}, length {length ?? 1} is not inside volume '{state.Name}' of {state.Size} bytes");
        var end = Math.Min(state.Size, offset + Math.Min(length ?? 1, state.Size));
        var (first, last) = await points.RangeAsync(from ?? PointResolver.Beginning(state), to ?? "now", state, cancellation);
        var held = new HeldBy(state with { Checkpoints = await streams.CheckpointsAsync(state.Id, cancellation) });
        await using var look = await index.LookAsync(state.Id, cancellation);
        var found = new Found(limit ?? LimitDefault);
        found.Gaps.AddRange([.. first.Gaps, .. last.Gaps, .. from is null ? PointResolver.Forgotten(state) : []]);
        await foreach (var e in new TouchWalk(look, offset, end).BackAsync(first.At, last.At, cancellation))
        {
            var happened = e.Data();
            if (happened is TrackingLost lost && e.Number > first.At.Event)
                found.Gaps.Add(new(lost.FromLsn, lost.ToLsn, lost.Why));
            if (happened is WritesRecovered recovered && e.Number > first.At.Event && recovered.Touches(offset, end))
                found.IsExact = false;
            if (happened is HistoryCoalesced coalesced && e.Number > first.At.Event && coalesced.Coalesced.Touches(offset, end))
                found.Gaps.Add(coalesced.Gap);
            if (happened is WritesRecorded writes
                && !found.Add(Touching(
                    writes.Packed, offset, end, first.At, last.At), e.Number, writes.Packed.Connections, held))
                break;
        }

        return new(found.Writes, found.IsExact && found.Gaps.Count == 0, Queries.Show(found.Gaps, state), found.Complete);
    }

    private static List<SingleWrite> Touching(PackedWrites packed, long offset, long end, Position first, Position last)
    {
        List<SingleWrite> touching = [];
        foreach (var write in packed)
            if (write.Offset < end && write.End > offset && write.Lsn > first.Lsn && write.Lsn <= last.Lsn)
                touching.Add(write);
        touching.Reverse();
        return touching;
    }

    private sealed class Found(int limit)
    {
        public List<BlameWrite> Writes { get; } = [];

        public List<Gap> Gaps { get; } = [];

        public bool IsExact { get; set; } = true;

        public bool Complete { get; private set; } = true;

        /// <summary>False when the limit is reached and there are more.</summary>
        public bool Add(List<SingleWrite> writes, long number, IReadOnlyList<ConnectionName> names, HeldBy held)
        {
            if (writes.Count == 0)
                return true;
            foreach (var write in writes)
            {
                if (Writes.Count == limit)
                    return Complete = false;
                var client = names.FirstOrDefault(
                    n => n.Connection == write.Connection).Name ?? $"connection {write.Connection}";
                Writes.Add(new(
                    write.Lsn, Timestamps.Show(
                        Timestamps.FromMicroseconds(write.TimeMicroseconds)), write.Offset, write.Length,
                    Kind(write.Kind), client, number, held.At(number, write.Offset, write.End)));
            }

            return true;
        }

        private static string Kind(WriteKind kind) => kind switch
        {
            WriteKind.Write => "write",
            WriteKind.WriteZeroes => "write-zeroes",
            _ => "trim",
        };
    }
}
