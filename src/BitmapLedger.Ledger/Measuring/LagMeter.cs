using System.Diagnostics.Metrics;
using JasperFx.Events.Projections;
using Marten;
using Marten.Services;

namespace BitmapLedger.Ledger.Measuring;

/// <summary>How long what this program appends takes to be projected: Marten's sessions say what was committed, its daemon how
/// far each projection is. Any thread.</summary>
public sealed class LagMeter : DocumentSessionListenerBase, IObserver<ShardState>
{
    /// <summary>More than this many appends that wait are not timed one by one; the oldest one always is.</summary>
    private const int WaitingMax = 4096;

    private readonly TimeProvider _clock;
    private readonly Dictionary<string, Queue<Appended>> _waiting;
    private readonly Lock _lock = new();

    /// <param name="projections">Names of the projections.</param>
    /// <param name="clock">Measures.</param>
    public LagMeter(IEnumerable<string> projections, TimeProvider clock)
    {
        _clock = clock;
        _waiting = projections.ToDictionary(p => p, _ => new Queue<Appended>(), StringComparer.Ordinal);
        LedgerTelemetry.ObserveWaiting(Waiting);
    }

    /// <inheritdoc />
    public override Task AfterCommitAsync(IDocumentSession session, IChangeSet commit, CancellationToken token)
    {
        var last = commit.GetEvents().Select(e => e.Sequence).DefaultIfEmpty().Max();
        if (last == 0)
            return Task.CompletedTask;
        var appended = new Appended(last, _clock.GetTimestamp());
        lock (_lock)
            foreach (var waiting in _waiting.Values)
                if (waiting.Count < WaitingMax)
                    waiting.Enqueue(appended);
        return Task.CompletedTask;
    }

    /// <summary>A projection is further.</summary>
    public void OnNext(ShardState value)
    {
        ArgumentNullException.ThrowIfNull(value);
        var name = value.ShardName.Split(':')[0];
        if (!_waiting.TryGetValue(name, out var waiting))
            return;
        lock (_lock)
            while (waiting.TryPeek(out var appended) && appended.Sequence <= value.Sequence)
            {
                waiting.Dequeue();
                LedgerTelemetry.LagSeconds.Record(_clock.GetElapsedTime(appended.Stamp).TotalSeconds, Tag(name));
            }
    }

    /// <inheritdoc />
    public void OnCompleted()
    {
    }

    /// <inheritdoc />
    public void OnError(Exception error)
    {
    }

    private IEnumerable<Measurement<double>> Waiting()
    {
        lock (_lock)
            return
            [
                .. _waiting.Select(w => new Measurement<double>(
                    w.Value.TryPeek(out var oldest) ? _clock.GetElapsedTime(oldest.Stamp).TotalSeconds : 0, Tag(w.Key))),
            ];
    }

    private static KeyValuePair<string, object?> Tag(string projection) => new("projection", projection);

    private readonly record struct Appended(long Sequence, long Stamp);
}
