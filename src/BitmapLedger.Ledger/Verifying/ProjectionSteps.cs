using System.Runtime.CompilerServices;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Rebuilding;

namespace BitmapLedger.Ledger.Verifying;

/// <summary>A walk of a projection over a stretch of a volume's history.</summary>
/// <param name="Volume">Name of the volume.</param>
/// <param name="Projection">Name of the projection.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where it ends.</param>
/// <param name="Steps">Each event, and what it changes; to be enumerated once.</param>
public sealed record ProjectionWalk(
    string Volume, string Projection, ResolvedPoint From, ResolvedPoint To, IAsyncEnumerable<ProjectionStep> Steps);

/// <summary>
/// Walks a projection event by event, anew and beside what is stored, which it leaves alone: to see what an event does, and
/// where what is stored is different.
/// </summary>
/// <param name="points">Resolves points.</param>
/// <param name="index">The history, and the tree over it.</param>
/// <param name="rows">The projected bits.</param>
public sealed class ProjectionSteps(PointResolver points, HistoryIndex index, BitmapBits rows)
{
    private const string StateName = "volume-state";

    private static readonly string[] _names = [StateName, BitmapBits.ProjectionName, UnionNodes.ProjectionName];

    /// <summary>Begins a walk. An event in which it begins or ends is walked whole.</summary>
    /// <param name="projection">Name of the projection: <c>bitmap-bits</c>, <c>union-tree</c> or <c>volume-state</c>.</param>
    /// <param name="volume">Name of the volume.</param>
    /// <param name="from">After this point.</param>
    /// <param name="to">Up to and including this one.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">There is no such volume or projection, or a point cannot be.</exception>
    public async Task<ProjectionWalk> WalkAsync(
        string projection, string volume, string from, string to, CancellationToken cancellation)
    {
        if (!_names.Contains(projection))
            throw new LedgerException(
                ErrorCode.NotFound, $"Projection '{projection}' not found", $"there are {string.Join(", ", _names)}");
        var state = await points.CurrentAsync(volume, cancellation);
        var (first, last) = await points.RangeAsync(from, to, state, cancellation);
        return new(state.Name, projection, first, last, StepsAsync(projection, state, first, last, cancellation));
    }

    private async IAsyncEnumerable<ProjectionStep> StepsAsync(
        string projection, VolumeState now, ResolvedPoint from, ResolvedPoint to, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var look = await index.LookAsync(now.Id, cancellation);
        var (begins, _, begun) = await look.AtOrAfterAsync(from.At.Event, cancellation);
        var after = begun is WritesRecorded or HistoryCoalesced && EventLsn.Last(begun) > from.At.Lsn
            ? EventNumbers.First(begun, begins) - 1
            : begins;
        using IProjectionWalk walk = projection switch
        {
            BitmapBits.ProjectionName => await BitsWalk.BeginAsync(look, rows, after, cancellation),
            UnionNodes.ProjectionName => new NodesWalk(look),
            _ => await StateWalk.BeginAsync(look, now, after, cancellation),
        };
        for (long next = after + 1, number; next <= to.At.Event; next = number + 1)
        {
            (number, var time, var happened) = await look.AtOrAfterAsync(next, cancellation);
            var step = new ProjectionStep(
                number, happened.GetType().Name, Timestamps.Show(time), EventView.Lsn(happened), Stored: null, Bits: null, Nodes: null,
                Members: null);
            yield return await walk.StepAsync(step, happened, number, time, cancellation);
        }
    }
}

/// <summary>A projection as it is walked. The creator disposes.</summary>
internal interface IProjectionWalk : IDisposable
{
    /// <summary>Says what an event changes.</summary>
    /// <param name="step">The step without that.</param>
    /// <param name="happened">The event.</param>
    /// <param name="number">Its number; above that of the step before, by more than one where events were coalesced.</param>
    /// <param name="time">When it happened.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    Task<ProjectionStep> StepAsync(
        ProjectionStep step, IVolumeEvent happened, long number, DateTimeOffset time, CancellationToken cancellation);
}
