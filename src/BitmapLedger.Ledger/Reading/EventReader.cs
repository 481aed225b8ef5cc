using System.Runtime.CompilerServices;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using JasperFx.Events;
using Marten;

namespace BitmapLedger.Ledger.Reading;

/// <summary>Reads the events of a volume in order, in pages: memory does not grow with the history.</summary>
/// <param name="store">The store.</param>
public sealed class EventReader(IDocumentStore store)
{
    /// <summary>64 blocks of 16,384 writes are about 6 MB.</summary>
    private const int PageEvents = 64;

    /// <summary>The events after one number, up to and including another; also the one that was coalesced over the last
    /// number, so that nothing up to there is left out.</summary>
    public async IAsyncEnumerable<IEvent> ReadAsync(
        Guid volumeId, long afterEvent, long throughEvent, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var read = PageEvents;
        while (afterEvent < throughEvent && read == PageEvents)
        {
            var page = await PageAsync(session, volumeId, afterEvent, throughEvent, PageEvents, cancellation);
            foreach (var happened in page)
                yield return happened;
            read = page.Count;
            afterEvent = read > 0 ? page[^1].Version : afterEvent;
        }

        if (afterEvent < throughEvent && await AtOrAfterAsync(volumeId, throughEvent, cancellation) is { } over && IsOver(over, throughEvent))
            yield return over;
    }

    /// <summary>The first event that has a number or a later one; null when there is none.</summary>
    public async Task<IEvent?> AtOrAfterAsync(Guid volumeId, long number, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        return await PageAsync(session, volumeId, number - 1, long.MaxValue, 1, cancellation) is [var first] ? first : null;
    }

    /// <summary>The bits of every bitmap at a position, folded from the first event.</summary>
    /// <returns>The caller disposes it.</returns>
    public Task<BitmapReplay> ReplayAsync(Guid volumeId, Position at, CancellationToken cancellation) =>
        ReplayAsync(volumeId, new BitmapReplay(), at, cancellation);

    /// <summary>Goes on with a replay up to a position.</summary>
    public async Task<BitmapReplay> ReplayAsync(
        Guid volumeId, BitmapReplay replay, Position at, CancellationToken cancellation)
    {
        try
        {
            await foreach (var happened in ReadAsync(volumeId, replay.State.Event, at.Event, cancellation))
                if (happened.Data is IVolumeEvent volumeEvent)
                    replay.Apply(volumeEvent, happened.Version, happened.Timestamp, at.Lsn);
            return replay;
        }
        catch
        {
            replay.Dispose();
            throw;
        }
    }

    private static bool IsOver(IEvent e, long number) =>
        e.Data is HistoryCoalesced { Coalesced.Span.FirstEvent: var first } && first <= number;

    private static Task<IReadOnlyList<IEvent>> PageAsync(
        IQuerySession session, Guid volumeId, long afterEvent, long throughEvent, int count, CancellationToken cancellation) =>
        session.Events.QueryAllRawEvents().Where(e => e.StreamId == volumeId && e.Version > afterEvent && e.Version <= throughEvent)
            .OrderBy(e => e.Version).Take(count).ToListAsync(cancellation);
}
