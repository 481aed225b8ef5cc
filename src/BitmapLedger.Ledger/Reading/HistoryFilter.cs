using BitmapLedger.Contracts;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>What is asked of a history.</summary>
/// <param name="From">First point; null for the start.</param>
/// <param name="To">Last point; null for now.</param>
/// <param name="Types">Names of events; empty for all.</param>
/// <param name="Offset">First byte that writes must touch; null for all.</param>
/// <param name="Length">Bytes from there on; null for the rest of the volume.</param>
public sealed record HistoryFilter(string? From, string? To, IReadOnlyList<string> Types, long? Offset, long? Length)
{
    /// <summary>Names of all events but blocks of writes.</summary>
    public static IReadOnlyList<string> AllButWrites { get; } = [.. EventTypes.Shown.Where(t => t != nameof(WritesRecorded))];

    /// <summary>Most events of an answer; null for all.</summary>
    public int? Limit { get; init; }

    /// <summary>Only events behind this number; null for all.</summary>
    public long? After { get; init; }

    /// <summary>The last event, found before, in place of both points; null when these say it. Retention of the history may
    /// have made it unreachable as a point since.</summary>
    internal long? Through { get; init; }

    /// <summary>Whether writes must touch certain bytes.</summary>
    internal bool NamesBytes => Offset is not null || Length is not null;

    /// <summary>Whether blocks of writes are out by their type.</summary>
    internal bool LeavesOutWrites => Types.Count > 0 && !Types.Contains(nameof(WritesRecorded), StringComparer.OrdinalIgnoreCase);

    /// <summary>First byte that is asked about.</summary>
    internal long Start => Offset ?? 0;

    /// <summary>The byte behind the last.</summary>
    internal long End => Length is { } length && length < long.MaxValue - Start ? Start + length : long.MaxValue;

    /// <summary>Types as PostgreSQL names them, and those that say that an answer is not exact.</summary>
    internal IReadOnlyCollection<string> StoredTypes =>
        EventTypes.StoredAs([.. Types, nameof(TrackingLost), nameof(WritesRecovered), nameof(HistoryCoalesced)]);

    /// <summary>Refuses what cannot be.</summary>
    /// <exception cref="LedgerException">A number, or a type, cannot be.</exception>
    public void Refuse()
    {
        if (Offset is < 0)
            throw new LedgerException(ErrorCode.BadArgument, $"{Offset} is no offset", "take 0 or more");
        if (Length is <= 0)
            throw new LedgerException(ErrorCode.BadArgument, $"{Length} is no length", "take 1 or more");
        if (Limit is < 1)
            throw new LedgerException(ErrorCode.BadArgument, $"{Limit} is no limit", "take 1 or more");
        if (Types.FirstOrDefault(t => !EventTypes.Shown.Contains(t)) is { } unknown)
            throw new LedgerException(
                ErrorCode.BadArgument, $"'{unknown}' is no type of event", $"there are {string.Join(", ", EventTypes.Shown.Order(StringComparer.Ordinal))}");
    }

    /// <summary>Whether an event is asked for.</summary>
    internal bool Passes(IVolumeEvent happened) =>
        (Types.Count == 0 || Types.Contains(happened.GetType().Name, StringComparer.OrdinalIgnoreCase)) && Touches(happened);

    /// <summary>Whether an event touched the bytes that are asked about.</summary>
    internal bool Touches(IVolumeEvent happened)
    {
        if (!NamesBytes)
            return true;
        if (happened is WritesRecovered recovered)
            return recovered.Touches(Start, End);
        if (happened is HistoryCoalesced { Coalesced: var coalesced })
            return coalesced.Touches(Start, End);
        if (happened is not WritesRecorded writes)
            return happened is TrackingLost;
        foreach (var write in writes.Packed)
            if (write.Offset < End && write.End > Start)
                return true;
        return false;
    }
}
