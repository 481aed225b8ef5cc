using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>
/// Lanes of volumes whose bitmaps the Agent has. One that has just started is given them first: a command that was
/// appended before could not tell it what they are now.
/// </summary>
/// <param name="lanes">The lanes.</param>
/// <param name="agent">Is asked whether it has them.</param>
/// <param name="streams">Knows which volumes are gone: the Agent has nothing to get of those.</param>
/// <param name="clock">Measures how long that takes.</param>
public sealed class SettledLanes(Lanes lanes, IAgent agent, VolumeStreams streams, TimeProvider clock)
{
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(50);

    /// <summary>Takes the lanes of some volumes.</summary>
    /// <returns>Gives them back when disposed.</returns>
    /// <exception cref="LedgerException">The Agent is away, or does not get the bitmaps (<c>busy</c>), or has not opened
    /// a volume.</exception>
    public async Task<Settled> TakeAsync(IReadOnlyList<Guid> volumeIds, CancellationToken cancellation)
    {
        var started = clock.GetTimestamp();
        while (true)
        {
            var taken = await lanes.TakeAsync(volumeIds, cancellation);
            ClosedVolume? closed;
            try
            {
                var welcome = (Welcome)await agent.AskAsync(new Status(volumeIds), cancellation);
                if (await AreSettledAsync(volumeIds, welcome, cancellation))
                    return new(taken, welcome);
                closed = welcome.Closed.FirstOrDefault(c => volumeIds.Contains(c.Id));
            }
            catch
            {
                taken.Dispose();
                throw;
            }

            // The meeting needs the lane.
            taken.Dispose();
            var late = clock.GetElapsedTime(started) > _patience;
            // Damage does not go by waiting; an image that somebody else has open may.
            if (closed is not null && (late || closed.Code == ErrorCode.Damaged))
                throw new LedgerException(closed.Code, closed.Why);
            if (late)
                throw new LedgerException(
                    ErrorCode.Busy, "the agent has not got the bitmaps yet", "it gets them when it can; try again");
            await Task.Delay(_pause, clock, cancellation);
        }
    }

    private async Task<bool> AreSettledAsync(IReadOnlyList<Guid> volumeIds, Welcome welcome, CancellationToken cancellation)
    {
        foreach (var id in volumeIds)
            if (!welcome.Volumes.Any(v => v.Id == id && v.Complete)
                && (welcome.Volumes.Any(v => v.Id == id) || await streams.LoadAsync(id, cancellation) is { Removed: false }))
                return false;
        return true;
    }

    /// <summary>Lanes that were taken.</summary>
    /// <param name="lanes">They.</param>
    /// <param name="agent">What the Agent said then.</param>
    public sealed class Settled(IDisposable lanes, Welcome agent) : IDisposable
    {
        /// <summary>How the Agent and these volumes were when the lanes were taken.</summary>
        public Welcome Agent => agent;

        /// <summary>Gives the lanes back.</summary>
        public void Dispose() => lanes.Dispose();
    }
}
