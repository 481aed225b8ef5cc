using System.Collections.Concurrent;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>One lane a volume: the shipper and every command go through it one at a time.</summary>
public sealed class Lanes
{
    private readonly ConcurrentDictionary<Guid, SemaphoreSlim> _lanes = new();

    /// <summary>Takes the lanes of some volumes, always in the order of their ids so that two takers cannot block
    /// each other.</summary>
    /// <returns>Gives them back when disposed.</returns>
    public async Task<IDisposable> TakeAsync(IEnumerable<Guid> volumeIds, CancellationToken cancellation)
    {
        List<SemaphoreSlim> taken = [];
        try
        {
            foreach (var id in volumeIds.Distinct().Order())
            {
                var lane = _lanes.GetOrAdd(id, _ => new(1));
                await lane.WaitAsync(cancellation);
                taken.Add(lane);
            }

            return new Taken(taken);
        }
        catch
        {
            new Taken(taken).Dispose();
            throw;
        }
    }

    private sealed class Taken(List<SemaphoreSlim> lanes) : IDisposable
    {
        public void Dispose()
        {
            foreach (var lane in lanes)
                lane.Release();
            lanes.Clear();
        }
    }
}
