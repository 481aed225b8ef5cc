using System.Runtime.CompilerServices;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using JasperFx.Events;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Events of a volume, and how far they go.</summary>
/// <param name="VolumeId">The volume.</param>
/// <param name="Through">The last event that was looked at.</param>
/// <param name="To">The last event that was asked for.</param>
/// <param name="Answer">Those that were asked for.</param>
public sealed record HistoryPage(Guid VolumeId, long Through, long To, HistoryAnswer Answer);

/// <summary>
/// The events of a volume. Those that touch certain bytes are found through the union tree, those of certain commands through
/// their index: what is not asked for is not read.
/// </summary>
/// <param name="points">Resolves points.</param>
/// <param name="reader">Reads events.</param>
/// <param name="index">The history, and the tree over it.</param>
/// <param name="streams">Says how far a volume is.</param>
/// <param name="clock">Measures pauses.</param>
public sealed class Histories(
    PointResolver points, EventReader reader, HistoryIndex index, VolumeStreams streams, TimeProvider clock)
{
    /// <summary>Events of a page where all are asked for one by one.</summary>
    private const int PageEvents = 1_000;

    /// <summary>Numbers of events that are looked up together.</summary>
    private const int NumbersMax = 1_000;

    /// <summary>Soon enough for a person who watches, seldom enough for PostgreSQL not to notice.</summary>
    private static readonly TimeSpan _followPause = TimeSpan.FromMilliseconds(250);

    /// <summary>The events of a volume, newest last.</summary>
    /// <exception cref="LedgerException">The filter, or a point, cannot be.</exception>
    public async Task<HistoryPage> AskAsync(string volume, HistoryFilter filter, CancellationToken cancellation)
    {
        filter.Refuse();
        var state = await points.CurrentAsync(volume, cancellation);
        var (from, to) = await RangeAsync(filter, state, cancellation);
        List<HistoryEvent> events = [];
        var exact = true;
        await foreach (var e in CandidatesAsync(state, Math.Max(from, filter.After ?? 0), to, filter, cancellation))
        {
            var happened = (IVolumeEvent)e.Data;
            if (events.Count == filter.Limit && filter.Passes(happened))
                return new(state.Id, e.Version - 1, to, new(events, exact ? null : false, events[^1].Event));
            exact &= happened is not (TrackingLost or WritesRecovered or HistoryCoalesced) || !filter.Touches(happened);
            if (filter.Passes(happened))
                events.Add(EventView.Show(e));
        }

        return new(state.Id, to, to, new(events, exact ? null : false));
    }

    /// <summary>The same a page at a time, so that memory does not grow with the answer: as far as the first page says, whatever
    /// is appended meanwhile.</summary>
    /// <exception cref="LedgerException">The filter, or a point, cannot be.</exception>
    public async IAsyncEnumerable<HistoryPage> PagesAsync(
        string volume, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        while (true)
        {
            var most = Math.Min(PageEvents, filter.Limit ?? PageEvents);
            var page = await AskAsync(volume, filter with { Limit = most }, cancellation);
            filter = filter with
            {
                From = null,
                Through = page.To,
                After = page.Answer.Next,
                Limit = filter.Limit - page.Answer.Events.Count,
            };
            yield return page;
            if (page.Answer.Next is null || filter.Limit == 0)
                yield break;
        }
    }

    /// <summary>
    /// The events behind a number as they are appended, until the volume is removed. Nothing is shipped for whoever waits:
    /// a trickle of writes must not become an event each.
    /// </summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="afterEvent">The last event that is known.</param>
    /// <param name="filter">Which events.</param>
    /// <param name="cancellation">Ends the waiting.</param>
    public async IAsyncEnumerable<HistoryEvent> FollowAsync(
        Guid volumeId, long afterEvent, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        while (true)
        {
            var state = await streams.LoadAsync(volumeId, cancellation);
            await foreach (var e in reader.ReadAsync(volumeId, afterEvent, state?.Event ?? 0, cancellation))
                if (filter.Passes((IVolumeEvent)e.Data))
                    yield return EventView.Show(e);
            afterEvent = Math.Max(afterEvent, state?.Event ?? 0);
            if (state is null or { Removed: true })
                yield break;
            await Task.Delay(_followPause, clock, cancellation);
        }
    }

    private async Task<(long From, long To)> RangeAsync(HistoryFilter filter, VolumeState state, CancellationToken cancellation)
    {
        if (filter.Through is { } through)
            return (0, through);
        if (filter.From is null)
            return (0, (await points.ResolveAsync(filter.To ?? "now", state, cancellation)).At.Event);
        var (first, last) = await points.RangeAsync(filter.From, filter.To ?? "now", state, cancellation);
        return (first.At.Event, last.At.Event);
    }

    /// <summary>Every event of a stretch that passes a filter or says that the answer is not exact, and others.</summary>
    private async IAsyncEnumerable<IEvent> CandidatesAsync(
        VolumeState state, long afterEvent, long throughEvent, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var stretches = filter.NamesBytes ? TouchingAsync(state, afterEvent, throughEvent, filter, cancellation)
            : filter.LeavesOutWrites ? CommandsAsync(state, afterEvent, throughEvent, filter, cancellation)
            : null;
        if (stretches is null)
        {
            await foreach (var e in reader.ReadAsync(state.Id, afterEvent, throughEvent, cancellation))
                yield return e;
            yield break;
        }

        await foreach (var (first, last) in stretches)
            await foreach (var e in reader.ReadAsync(state.Id, first - 1, last, cancellation))
                yield return e;
    }

    private async IAsyncEnumerable<(long First, long Last)> TouchingAsync(
        VolumeState state, long afterEvent, long throughEvent, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        await foreach (var stretch in new TouchWalk(look, filter.Start, filter.End).StretchesAsync(
            afterEvent, throughEvent, newestFirst: false, cancellation))
            yield return stretch;
    }

    private async IAsyncEnumerable<(long First, long Last)> CommandsAsync(
        VolumeState state, long afterEvent, long throughEvent, HistoryFilter filter, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(state.Id, cancellation);
        IReadOnlyList<long> numbers;
        do
        {
            numbers = await look.NumbersAsync(filter.StoredTypes, afterEvent, throughEvent, NumbersMax, cancellation);
            var stretches = new EventStretches();
            foreach (var number in numbers)
                stretches.Add(number);
            foreach (var stretch in stretches.Merged())
                yield return stretch;
            afterEvent = numbers.Count == 0 ? throughEvent : numbers[^1];
        }
        while (numbers.Count == NumbersMax);
    }
}
