using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Retaining;

namespace BitmapLedger.Ledger.Retaining;

/// <summary>What retention of one history is going to do, and what it has found so far. One thread; the creator
/// disposes.</summary>
/// <param name="limits">What is coalesced, and what is forgotten.</param>
/// <param name="coalescedThrough">Single writes up to this event were coalesced before.</param>
/// <param name="exactFrom">From where on single writes stay; null when there is nothing to coalesce.</param>
/// <param name="keptFrom">From where on points can be asked about; null for all.</param>
internal sealed class Retention(RetentionLimits limits, long coalescedThrough, Position? exactFrom, Position? keptFrom) : IDisposable
{
    private long _writes;
    private long _eventsBefore;
    private long _eventsAfter;
    private long _bytesBefore;
    private long _bytesAfter;

    /// <summary>Finds what can be coalesced.</summary>
    public HistoryCoalescer Coalescer { get; } = new(limits);

    /// <summary>Up to here it has looked, and no run is open.</summary>
    public Position Cursor { get; set; }

    /// <summary>The last event that there is to look at.</summary>
    public long LastEvent => limits.ExactEvent;

    /// <summary>Up to here what was coalesced before may have to be forgotten now.</summary>
    public long GoneEvent => Math.Min(limits.GoneEvent, DoneEvent);

    /// <summary>Up to here no single writes are left.</summary>
    public long DoneEvent => Math.Min(coalescedThrough, LastEvent);

    /// <summary>Whether it has looked at everything.</summary>
    public bool IsDone => Cursor.Event >= LastEvent;

    /// <summary>From where on points can be asked about; null for all.</summary>
    public Position? KeptFrom => keptFrom;

    /// <summary>Counts what is replaced.</summary>
    public void Count(IReadOnlyList<CoalescedRun> runs, long bytesBefore)
    {
        _writes += runs.Sum(r => r.Span.Count);
        _eventsBefore += runs.Sum(r => r.Replaced);
        _eventsAfter += runs.Count;
        _bytesAfter += runs.Sum(r => (long)r.Bytes.Length);
        _bytesBefore += bytesBefore;
    }

    /// <summary>What has been found.</summary>
    public RetainedHistory Answer(string exact, string coalesced) => new(
        Show(exactFrom, $"-{exact}"), Show(keptFrom, $"-{coalesced}"), _writes, _eventsBefore, _eventsAfter, _bytesBefore, _bytesAfter);

    /// <inheritdoc />
    public void Dispose() => Coalescer.Dispose();

    private static PositionAnswer? Show(Position? at, string asked) =>
        at is { } position ? new(asked, position.Event, position.Lsn, Timestamps.Show(position.Time)) : null;
}
