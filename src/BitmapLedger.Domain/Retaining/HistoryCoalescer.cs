using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Retaining;

/// <summary>
/// Finds the runs of single writes that can be coalesced, going through a history from its first event. A run never has
/// another event in it, so that every bitmap takes all of it or nothing; it ends where the history that can be asked about
/// begins; and it lies within one node of level 1 of the union tree, so that no node is ever different for it. One thread;
/// the creator disposes.
/// </summary>
/// <remarks>Blocks are kept at the finest granularity that a bitmap has had while that node grew: exact for every bitmap that
/// recorded, and for the node.</remarks>
/// <param name="limits">What is coalesced, and what is forgotten.</param>
public sealed class HistoryCoalescer(RetentionLimits limits) : IDisposable
{
    private VolumeState _state = new();
    private long _node = -1;
    private Granularity _finest;
    private NativeBitmap? _blocks;
    private CoalescedSpan _span;
    private long _last;

    /// <summary>Whether a run has begun and not ended.</summary>
    public bool IsOpen => _last > 0;

    /// <summary>Takes in the next event.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="time">When it happened.</param>
    /// <param name="happened">The event.</param>
    /// <returns>The runs that ended before it or with it, oldest first.</returns>
    public IReadOnlyList<CoalescedRun> Add(long number, DateTimeOffset time, IVolumeEvent happened)
    {
        List<CoalescedRun> ended = [];
        Follow(number);
        if (happened is WritesRecorded { Packed: var packed } && number <= limits.ExactEvent)
        {
            Take(number, packed);
            if (number % UnionTree.Fanout == 0 || number == limits.KeptEvent || number == limits.ExactEvent)
                ended.Add(End());
        }
        else
        {
            if (IsOpen)
                ended.Add(End());
            if (happened is HistoryCoalesced { Coalesced: { IsGone: false, Span: var span } } && limits.Forgets(number))
                ended.Add(new(number, 1, span, CoalescedWrites.Encode(span, blocks: null), IsGone: true));
        }

        _state = _state.Apply(happened, number, time);
        return ended;
    }

    /// <inheritdoc />
    public void Dispose() => _blocks?.Dispose();

    private void Follow(long number)
    {
        var node = (number - 1) / UnionTree.Fanout;
        if (node == _node)
            return;
        _node = node;
        _finest = limits.Finest.Between(node * UnionTree.Fanout, (node + 1) * UnionTree.Fanout);
    }

    private void Take(long number, PackedWrites packed)
    {
        _span = IsOpen ? _span.With(packed) : CoalescedSpan.Of(number, packed);
        _last = number;
        if (limits.Forgets(number))
            return;
        _blocks ??= new(_state.Size, _finest);
        _ = PackedScan.TryMark(packed.Bytes.Span, _blocks);
    }

    private CoalescedRun End()
    {
        var run = new CoalescedRun(
            _last, (int)(_last - _span.FirstEvent + 1), _span, CoalescedWrites.Encode(_span, _blocks), _blocks is null);
        _blocks?.Dispose();
        (_blocks, _last) = (null, 0);
        return run;
    }
}
