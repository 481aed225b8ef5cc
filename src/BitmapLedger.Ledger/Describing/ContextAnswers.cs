using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;
using Microsoft.Extensions.Logging;

namespace BitmapLedger.Ledger.Describing;

/// <summary>Answers what the Agent asks when a client negotiates a meta context of ours: as <c>changed</c> and <c>replay</c> do, with
/// the bits in a file.</summary>
/// <param name="points">Resolves points.</param>
/// <param name="changes">Reads what changed.</param>
/// <param name="index">The history, and the tree over it.</param>
/// <param name="streams">Has the checkpoints.</param>
/// <param name="watch">Knows whether PostgreSQL is there.</param>
/// <param name="settings">Where bits are put down.</param>
/// <param name="log">Is told of bugs.</param>
public sealed partial class ContextAnswers(
    PointResolver points, ChangeReader changes, HistoryIndex index, VolumeStreams streams, PostgresWatch watch,
    LedgerSettings settings, ILogger<ContextAnswers> log) : IDisposable
{
    /// <summary>Clients that negotiate leave connections to PostgreSQL for others.</summary>
    private const int AtOnceMax = 8;

    /// <summary>A list goes over the link in one frame; in the worst case a character takes six bytes there.</summary>
    private const int ListCharactersMax = ControlFrame.BytesMax / 8;

    /// <summary>The Agent has given up long before.</summary>
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(10);

    private readonly SemaphoreSlim _room = new(AtOnceMax);

    /// <summary>Answers a question; never throws.</summary>
    /// <param name="question">What the Agent asked.</param>
    /// <param name="cancellation">The link has ended.</param>
    public async Task<ControlReply> AnswerAsync(ControlRequest question, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(_limit);
        try
        {
            await _room.WaitAsync(limit.Token);
            try
            {
                ControlReply? reply = null;
                await watch.WithAsync(async away => reply = await FindAsync(question, away), limit.Token);
                return reply!;
            }
            finally
            {
                _room.Release();
            }
        }
        catch (LedgerException refusal)
        {
            return new Failed(refusal.Code, refusal.Hint is { } hint ? $"{refusal.Message}; {hint}" : refusal.Message);
        }
        catch (BitmapLedgerException refusal)
        {
            return new Failed(refusal.Code, refusal.Message);
        }
        catch (OperationCanceledException)
        {
            return new Failed(ErrorCode.Busy, $"the server found no answer within {_limit.TotalSeconds:0} s");
        }
        catch (Exception failure)
        {
            AnswerFailed(failure);
            return new Failed(ErrorCode.Failed, failure.GetBaseException().Message);
        }
    }

    /// <inheritdoc />
    public void Dispose() => _room.Dispose();

    private async Task<ControlReply> FindAsync(ControlRequest question, CancellationToken cancellation) => question switch
    {
        ChangedBits range => await ChangedAsync(range, await CurrentAsync(range.Id, cancellation), cancellation),
        BitsAt bitmap => await BitmapAsync(bitmap, await CurrentAsync(bitmap.Id, cancellation), cancellation),
        ListRanges list => await ListAsync(list.Id, cancellation),
        _ => new Failed(ErrorCode.Unsupported, $"unknown question {question.GetType().Name}"),
    };

    private async Task<VolumeState> CurrentAsync(Guid id, CancellationToken cancellation) =>
        await points.CurrentAsync(id, cancellation) is { Removed: false } state ? state : throw NotFound(id);

    private async Task<BitsFile> ChangedAsync(ChangedBits range, VolumeState state, CancellationToken cancellation)
    {
        if (state.LastLsn < range.Lsn)
            throw new LedgerException(
                ErrorCode.Busy, $"volume '{state.Name}' is recorded up to write {state.LastLsn} and not yet up to {range.Lsn}", "try again");
        var (from, to) = await points.RangeAsync(range.From, range.To ?? "now", state, cancellation);
        var sizes = await changes.SizesAsync(state.Id, state.Size, from.At, to.At, cancellation);
        using var changed = await changes.ReadAsync(state.Id, sizes.To, Granularity.Default, from.At, to.At, cancellation);
        return PutDown(changed.Map, cancellation);
    }

    private async Task<BitsFile> BitmapAsync(BitsAt wanted, VolumeState state, CancellationToken cancellation)
    {
        var at = (await points.ResolveAsync(wanted.At, state, cancellation)).At;
        await using var look = await index.LookAsync(state.Id, cancellation);
        var then = await look.StateAsync(at.Event, cancellation);
        var bitmap = then.Bitmap(wanted.Bitmap)
            ?? throw new LedgerException(ErrorCode.NotFound, $"Dirty bitmap '{wanted.Bitmap}' not found", $"at {wanted.At}");
        if (bitmap.Inconsistent)
            throw new LedgerException(
                ErrorCode.Failed, $"Bitmap '{wanted.Bitmap}' is inconsistent and cannot be used", $"at {wanted.At}");
        using var bits = await BitsReader.OneAsync(look, then, at, WantedBits.Of(bitmap), cancellation);
        return PutDown(bits.Map, cancellation);
    }

    private BitsFile PutDown(NativeBitmap bits, CancellationToken cancellation)
    {
        // Nobody would read it any more.
        cancellation.ThrowIfCancellationRequested();
        return new(Settlements.PutDown(bits, settings.BitsDirectory));
    }

    private async Task<RangeNames> ListAsync(Guid id, CancellationToken cancellation)
    {
        var state = await streams.LoadAsync(id, cancellation) is { Removed: false } there ? there : throw NotFound(id);
        var checkpoints = await streams.CheckpointsAsync(id, cancellation);
        List<string> names = [];
        var characters = 0;
        foreach (var name in checkpoints.Select(c => ContextName.SinceCheckpoint(c.Name)).Concat(
            state.Bitmaps.SelectMany(b => b.Slices.Select(s => ContextName.SinceSlice(b.Name, s.Number)))))
        {
            characters += name.Length;
            if (characters > ListCharactersMax)
            {
                ListIsCut(state.Name, names.Count);
                break;
            }

            names.Add(name);
        }

        return new(names);
    }

    private static LedgerException NotFound(Guid id) => new(ErrorCode.NotFound, $"volume {id} is not in the ledger");

    [LoggerMessage(Level = LogLevel.Error, Message = "what the agent asked about a meta context was not answered")]
    private partial void AnswerFailed(Exception failure);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} has more meta contexts than are listed: {Count}")]
    private partial void ListIsCut(string volume, int count);
}
