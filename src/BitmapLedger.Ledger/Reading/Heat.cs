using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Ledger.Reading;

/// <summary>How often each part of a volume was written, and when: the cells of a map.</summary>
/// <param name="points">Resolves points.</param>
/// <param name="reader">Reads events.</param>
public sealed class Heat(PointResolver points, EventReader reader)
{
    /// <summary>Most columns, and most rows, of an answer.</summary>
    public const int SideMax = 1024;

    private const int ColumnsDefault = 64;
    private const int RowsDefault = 16;

    /// <summary>Counts the writes of a range by cell.</summary>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="from">Beginning; null for the start.</param>
    /// <param name="to">End; null for now.</param>
    /// <param name="by"><c>time</c>, <c>blocks</c>, or null for <c>time</c>.</param>
    /// <param name="columns">Cells of a row; null for 64.</param>
    /// <param name="rows">Rows; null for 16.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">A number or a point cannot be.</exception>
    public async Task<HeatAnswer> AskAsync(
        string volume, string? from, string? to, string? by, int? columns, int? rows, CancellationToken cancellation)
    {
        if (by is not (null or "time" or "blocks"))
            throw new LedgerException(ErrorCode.BadArgument, $"'{by}' is no kind of map", "take time or blocks");
        var (width, height) = (Side("columns", columns ?? ColumnsDefault), Side("rows", rows ?? RowsDefault));
        var state = await points.CurrentAsync(volume, cancellation);
        var (first, last) = await points.RangeAsync(from ?? PointResolver.Beginning(state), to ?? "now", state, cancellation);
        var cells = by is "blocks"
            ? new HeatCells(width * height, 1, state.Size, first.At, last.At)
            : new HeatCells(width, height, state.Size, first.At, last.At);
        List<Gap> gaps = [.. first.Gaps, .. last.Gaps, .. from is null ? PointResolver.Forgotten(state) : []];
        var exact = true;
        await foreach (var e in reader.ReadAsync(state.Id, first.At.Event - 1, last.At.Event, cancellation))
        {
            var inside = e.Version > first.At.Event;
            if (e.Data is TrackingLost lost && inside)
                gaps.Add(new(lost.FromLsn, lost.ToLsn, lost.Why));
            exact &= !(inside && e.Data is WritesRecovered);
            if (e.Data is HistoryCoalesced coalesced && inside)
                gaps.Add(coalesced.Gap);
            if (e.Data is WritesRecorded { Packed: var packed })
                cells.Add(packed);
        }

        return new(
            state.Name, first.Answer, last.Answer, by ?? "time", state.Size, width, height, exact && gaps.Count == 0,
            Queries.Show(gaps, state), cells.Writes, [.. cells.Counts.Chunk(width)]);
    }

    private static int Side(string name, int value) => value is >= 1 and <= SideMax
        ? value
        : throw new LedgerException(ErrorCode.BadArgument, $"{value} is no number of {name}", $"take 1 to {SideMax}");
}
