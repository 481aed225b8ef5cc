using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Indexing;

namespace BitmapLedger.Ledger.Reading;

/// <summary>
/// Finds the writes that touched some bytes a page at a time, newest first: memory is bounded by the page, and between pages no
/// connection is held for whoever is slow to take them. One thread.
/// </summary>
public sealed class BlameReading
{
    private readonly HistoryIndex _index;
    private readonly VolumeState _state;
    private readonly HeldBy _held;
    private readonly Extent _asked;
    private readonly Position _from;
    private readonly List<Gap> _gaps;

    /// <summary>Gaps of events by their numbers: where pages meet, an event may be read for both.</summary>
    private readonly SortedDictionary<long, Gap> _gapsOfEvents = [];

    private Position _to;
    private bool _inexact;
    private bool _hasBegun;

    /// <param name="index">The history, and the tree over it.</param>
    /// <param name="state">The volume now, with its checkpoints.</param>
    /// <param name="asked">The bytes.</param>
    /// <param name="from">Where the range begins.</param>
    /// <param name="to">Where it ends.</param>
    /// <param name="gaps">Gaps that the two have.</param>
    internal BlameReading(HistoryIndex index, VolumeState state, Extent asked, Position from, Position to, List<Gap> gaps)
    {
        (_index, _state, _held) = (index, state, new(state));
        (_asked, _from, _to, _gaps) = (asked, from, to, gaps);
    }

    /// <summary>False when there may have been other writes, as far as was read.</summary>
    public bool IsExact => !_inexact && _gaps.Count + _gapsOfEvents.Count == 0;

    /// <summary>Where writes may have gone unrecorded, as far as was read.</summary>
    public IReadOnlyList<GapAnswer> Gaps => Queries.Show([.. _gaps, .. _gapsOfEvents.Values], _state);

    /// <summary>Whether there are no more.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>The next writes.</summary>
    /// <param name="most">Most of them; at least 1.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">The history was retained since the first page (<c>history-gone</c>): what is left to read is
    /// not what was begun.</exception>
    public async Task<IReadOnlyList<BlameWrite>> NextAsync(int most, CancellationToken cancellation)
    {
        List<BlameWrite> writes = [];
        await using var look = await _index.LookAsync(_state.Id, cancellation);
        if (_hasBegun && (await look.NumbersAsync([EventTypes.Retained], _state.Event, long.MaxValue, most: 1, cancellation)).Count > 0)
            throw new LedgerException(
                ErrorCode.HistoryGone, $"the history of volume '{_state.Name}' was retained while it was read, from lsn {_to.Lsn} back", "ask again");
        _hasBegun = true;
        await foreach (var e in new TouchWalk(look, _asked.Offset, _asked.End).BackAsync(_from, _to, cancellation))
        {
            var happened = e.Data();
            if (e.Number > _from.Event)
                Note(happened, e.Number);
            if (happened is WritesRecorded recorded && !TryAdd(recorded.Packed, e.Number, most, writes))
            {
                _to = new(writes[^1].Event, writes[^1].Lsn - 1, default);
                return writes;
            }
        }

        IsComplete = true;
        return writes;
    }

    private void Note(IVolumeEvent happened, long number)
    {
        if (happened is TrackingLost lost)
            _gapsOfEvents[number] = new(lost.FromLsn, lost.ToLsn, lost.Why);
        else if (happened is HistoryCoalesced coalesced && coalesced.Coalesced.Touches(_asked.Offset, _asked.End))
            _gapsOfEvents[number] = coalesced.Gap;
        _inexact |= happened is WritesRecovered recovered && recovered.Touches(_asked.Offset, _asked.End);
    }

    /// <summary>False when there are as many as are wanted, and more.</summary>
    private bool TryAdd(PackedWrites packed, long number, int most, List<BlameWrite> writes)
    {
        foreach (var write in Touching(packed))
        {
            if (writes.Count == most)
                return false;
            var client = packed.Connections.FirstOrDefault(n => n.Connection == write.Connection).Name ?? $"connection {write.Connection}";
            writes.Add(new(
                write.Lsn, Timestamps.Show(Timestamps.FromMicroseconds(write.TimeMicroseconds)), write.Offset, write.Length,
                Kind(write.Kind), client, number, _held.At(number, write.Offset, write.End)));
        }

        return true;
    }

    private List<SingleWrite> Touching(PackedWrites packed)
    {
        List<SingleWrite> touching = [];
        foreach (var write in packed)
            if (write.Offset < _asked.End && write.End > _asked.Offset && write.Lsn > _from.Lsn && write.Lsn <= _to.Lsn)
                touching.Add(write);
        touching.Reverse();
        return touching;
    }

    private static string Kind(WriteKind kind) => kind switch
    {
        WriteKind.Write => "write",
        WriteKind.WriteZeroes => "write-zeroes",
        _ => "trim",
    };
}
