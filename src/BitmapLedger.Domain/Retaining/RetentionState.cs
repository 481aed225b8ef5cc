using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Domain.Volumes;

/// <summary>How far the history of a volume was coalesced.</summary>
/// <param name="Event">The event that says so.</param>
/// <param name="ExactFrom">From here on every single write is known.</param>
/// <param name="KeptFrom">Points before this can be asked about no more, but for checkpoints and slices; null when all can
/// be.</param>
public sealed record RetentionState(long Event, Position ExactFrom, Position? KeptFrom)
{
    /// <summary>The state after one more retention; what was given up does not come back.</summary>
    public static RetentionState After(RetentionState? before, HistoryRetained e, long number) => new(
        number, Later(before?.ExactFrom, e.ExactFrom)!.Value, Later(before?.KeptFrom, e.KeptFrom));

    private static Position? Later(Position? one, Position? other) =>
        one is { } a && other is { } b ? a.Event > b.Event ? a : b : one ?? other;
}
