using System.Runtime.CompilerServices;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;
using JasperFx.Events;
using Marten;

namespace BitmapLedger.Ledger.Reading;

/// <summary>
/// What has just been appended, to all volumes or to one. Numbers of events are given out before they are committed, so a
/// lower one may become visible after a higher one; nothing is told beyond the mark below which Marten's daemon has seen all.
/// </summary>
/// <param name="store">The store.</param>
/// <param name="streams">Finds volumes.</param>
/// <param name="clock">Measures pauses.</param>
public sealed class EventFeed(IDocumentStore store, VolumeStreams streams, TimeProvider clock) : IDisposable
{
    /// <summary>Most listeners at once: each may ask PostgreSQL for a page whenever something happens.</summary>
    public const int ListenersMax = 64;

    /// <summary>64 blocks of 16,384 writes are about 6 MB.</summary>
    private const int PageEvents = 64;

    private const string MarkName = "HighWaterMark";

    /// <summary>However many listen, the mark is asked for once in this time.</summary>
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(200);

    private readonly SemaphoreSlim _asking = new(1);
    private long _mark;
    private long _markedAt;
    private int _listeners;

    /// <summary>Listens, until the volume is removed or the listener goes.</summary>
    /// <param name="volume">The volume; null for all of them.</param>
    /// <param name="after">The last event that the listener has: its number within the volume, or its sequence when it listens
    /// to all; null for those from now on.</param>
    /// <param name="cancellation">Ends it.</param>
    /// <returns>The events, and null whenever there is none for a while.</returns>
    /// <exception cref="LedgerException">The volume is not there, the event lies in the future, or too many listen.</exception>
    public async Task<IAsyncEnumerable<HistoryEvent?>> ListenAsync(string? volume, long? after, CancellationToken cancellation)
    {
        var state = volume is null ? null : await streams.FindAsync(volume, cancellation);
        var last = state?.Event ?? await MarkAsync(cancellation);
        if (after > last)
            throw new LedgerException(ErrorCode.BadPoint, $"event {after} lies in the future: the last one is {last}");
        return FollowAsync(state, after ?? last, cancellation);
    }

    /// <inheritdoc />
    public void Dispose() => _asking.Dispose();

    private async IAsyncEnumerable<HistoryEvent?> FollowAsync(
        VolumeState? volume, long after, [EnumeratorCancellation] CancellationToken cancellation)
    {
        using var _ = new Listener(this);
        Dictionary<Guid, string> names = [];
        var seen = 0L;
        while (true)
        {
            var mark = await MarkAsync(cancellation);
            var page = mark == seen ? [] : await PageAsync(volume, after, mark, cancellation);
            foreach (var e in page)
            {
                yield return EventView.Show(e) with { Volume = await NameAsync(e.StreamId), Sequence = e.Sequence };
                after = volume is null ? e.Sequence : e.Version;
                if (volume is not null && e.Data is Domain.VolumeRemoved)
                    yield break;
            }

            if (page.Count == PageEvents)
                continue;
            seen = mark;
            yield return null;
            await Task.Delay(_pause, clock, cancellation);
        }

        async Task<string> NameAsync(Guid id) =>
            names.TryGetValue(id, out var known) ? known : names[id] = (await streams.LoadAsync(id, cancellation))?.Name ?? "";
    }

    private async Task<IReadOnlyList<IEvent>> PageAsync(
        VolumeState? volume, long after, long mark, CancellationToken cancellation)
    {
        await using var session = store.QuerySession();
        var events = session.Events.QueryAllRawEvents().Where(e => e.Sequence <= mark);
        return volume is { Id: var id }
            ? await events.Where(e => e.StreamId == id && e.Version > after).OrderBy(e => e.Version)
                .Take(PageEvents).ToListAsync(cancellation)
            : await events.Where(e => e.Sequence > after).OrderBy(e => e.Sequence).Take(PageEvents).ToListAsync(cancellation);
    }

    private async Task<long> MarkAsync(CancellationToken cancellation)
    {
        await _asking.WaitAsync(cancellation);
        try
        {
            if (_markedAt == 0 || clock.GetElapsedTime(_markedAt) >= _pause)
            {
                var progress = await store.Advanced.AllProjectionProgress(token: cancellation);
                _mark = progress.FirstOrDefault(p => p.ShardName == MarkName)?.Sequence ?? 0;
                _markedAt = clock.GetTimestamp();
            }

            return _mark;
        }
        finally
        {
            _asking.Release();
        }
    }

    private sealed class Listener : IDisposable
    {
        private readonly EventFeed _feed;

        public Listener(EventFeed feed)
        {
            _feed = feed;
            if (Interlocked.Increment(ref feed._listeners) <= ListenersMax)
                return;
            Dispose();
            throw new LedgerException(ErrorCode.Busy, $"{ListenersMax} clients listen to events already", "close one of them");
        }

        public void Dispose() => Interlocked.Decrement(ref _feed._listeners);
    }
}
