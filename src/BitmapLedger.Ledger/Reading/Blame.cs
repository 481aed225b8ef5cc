using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
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

    /// <summary>The writes, newest first, in one answer.</summary>
    public async Task<BlameAnswer> AskAsync(
        string volume, long offset, long? length, string? from, string? to, int? limit, CancellationToken cancellation)
    {
        var reading = await BeginAsync(volume, offset, length, from, to, limit, cancellation);
        var writes = await reading.NextAsync(limit ?? LimitDefault, cancellation);
        return new(writes, reading.IsExact, reading.Gaps, reading.IsComplete);
    }

    /// <summary>The same a page at a time, for answers that are written while they are made.</summary>
    /// <exception cref="LedgerException">The stretch, the limit or a point cannot be.</exception>
    public async Task<BlameReading> BeginAsync(
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
        List<Gap> gaps = [.. first.Gaps, .. last.Gaps, .. from is null ? PointResolver.Forgotten(state) : []];
        state = state with { Checkpoints = await streams.CheckpointsAsync(state.Id, cancellation) };
        return new(index, state, new(offset, end - offset), first.At, last.At, gaps);
    }
}
