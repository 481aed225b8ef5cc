using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Points;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Shipping;

/// <summary>Events that are ready to be appended together.</summary>
/// <param name="Events">At least one.</param>
/// <param name="IsFull">Whether there may be more at once.</param>
internal sealed record Shipment(IReadOnlyList<TimedEvent> Events, bool IsFull);

/// <summary>Where shipping of a volume stands. Used inside the volume's lane only.</summary>
/// <param name="journal">Directory of its journal.</param>
/// <param name="state">The volume as it stands in the stream.</param>
/// <param name="clock">Measures how long a write waits.</param>
internal sealed class ShippingVolume(string journal, VolumeState state, TimeProvider clock) : IDisposable
{
    /// <summary>Writes of the largest block; larger ones gain nothing (reference: 8 to 16 thousand).</summary>
    public const int BlockMax = 16_384;

    /// <summary>Blocks of one commit: with four, what a commit costs is little beside what is in it.</summary>
    private const int BlocksMax = 4;

    private readonly SingleWrite[] _writes = new SingleWrite[BlockMax];
    private readonly JournalReader _reader = new(journal, state.Id);
    private bool _damaged;
    private long _waitsSince;

    /// <summary>Last LSN that is in a shipment, or in the stream.</summary>
    private long _takenLsn = state.LastLsn;

    /// <summary>The volume as it stands in the stream, without its checkpoints; of a large one only what shipping needs.</summary>
    public VolumeState State { get; private set; } = Kept(state);

    /// <summary>Whether the state is all there.</summary>
    public bool IsWhole { get; private set; } = StateSize.IsKept(state);

    /// <summary>Last LSN that the Agent was told to be in the stream, as far as is known here; 0 for none.</summary>
    public long ReleasedLsn { get; set; }

    /// <summary>Writes read from the journal and in no shipment yet.</summary>
    public int Waiting { get; private set; }

    /// <summary>How long the first write that waits has been seen. Not how old it is: the wall clock may have jumped
    /// since.</summary>
    public TimeSpan Waits => Waiting == 0 ? TimeSpan.Zero : clock.GetElapsedTime(_waitsSince);

    /// <summary>Whether only what is durable may be shipped.</summary>
    public bool IsPower => State.Durability == "power";

    /// <summary>Whether a write up to an LSN has been read and waits.</summary>
    public bool HasWaiting(long throughLsn) => Waiting > 0 && _writes[0].Lsn <= throughLsn;

    /// <summary>Reads on; what waits already stays.</summary>
    public void Fill()
    {
        if (Waiting == 0)
            _waitsSince = clock.GetTimestamp();
        var after = Waiting > 0 ? _writes[Waiting - 1].Lsn : _takenLsn;
        Waiting += _reader.Read(after, _writes.AsSpan(Waiting));
    }

    /// <summary>Reads on unless the journal is known to be damaged.</summary>
    /// <returns>False when it is: whoever ships by the clock need not read the same damage ten times a second.</returns>
    /// <exception cref="CorruptionException">It has just been found to be damaged.</exception>
    public bool TryFill()
    {
        if (_damaged)
            return false;
        try
        {
            Fill();
            return true;
        }
        catch (CorruptionException)
        {
            _damaged = true;
            throw;
        }
    }

    /// <summary>Takes the next writes up to an LSN.</summary>
    /// <returns>Null when the journal holds none.</returns>
    /// <exception cref="LedgerException">One lies behind the end that the ledger knows: the Agent has resized the volume, and
    /// that stands in the stream before it, or its blocks would be lost.</exception>
    public Shipment? Take(long throughLsn)
    {
        List<TimedEvent> events = [];
        var full = true;
        for (var blocks = 0; blocks < BlocksMax && full; blocks++)
        {
            Fill();
            var count = Waiting;
            while (count > 0 && _writes[count - 1].Lsn > throughLsn)
                count--;
            full = count == BlockMax;
            if (count == 0)
                break;
            AddBlock(events, count);
            _takenLsn = _writes[count - 1].Lsn;
            _writes.AsSpan(count, Waiting - count).CopyTo(_writes);
            Waiting -= count;
        }

        return events.Count == 0 ? null : new(events, full);
    }

    /// <summary>A shipment stands in the stream.</summary>
    public void Shipped(Shipment shipment) => State = After(shipment.Events);

    /// <summary>Goes on behind a command that stands in the stream.</summary>
    /// <returns>False where the stream has to be asked how it stands.</returns>
    public bool TryFollow(StreamAppend append)
    {
        if (!IsWhole || State.Event != append.ExpectedEvent)
            return false;
        var after = After(append.Events);
        if (after.Removed || after.LastLsn != State.LastLsn)
            return false;
        (State, IsWhole) = (Kept(after), StateSize.IsKept(after));
        return true;
    }

    public void Dispose() => _reader.Dispose();

    /// <summary>
    /// The events of a block. LSNs that the journal passed over are voids; LSNs that it has freed although the stream has
    /// not got them are a gap: then the ledger has forgotten what it once acknowledged.
    /// </summary>
    private void AddBlock(List<TimedEvent> events, int count)
    {
        var writes = _writes.AsSpan(0, count);
        foreach (ref readonly var write in writes)
            if (write.End > State.Size)
                throw new LedgerException(
                    ErrorCode.Busy, $"volume {State.Id} has grown, and its new size is not recorded yet", "try again");
        var expected = _takenLsn + 1;
        if (writes[0].Lsn > expected && _reader.OldestLsn() > expected)
        {
            var time = Timestamps.FromMicroseconds(writes[0].TimeMicroseconds);
            const string why = "the ledger lacks writes that the journal has already freed";
            events.Add(new(new TrackingLost(expected - 1, writes[0].Lsn - 1, why, writes[0].Lsn - 1), time));
            expected = writes[0].Lsn;
        }

        events.Add(new(
            WriteBlock.Of(writes, expected, _reader.Names), Timestamps.FromMicroseconds(writes[^1].TimeMicroseconds)));
    }

    private VolumeState After(IReadOnlyList<TimedEvent> events) =>
        events.Aggregate(State, (state, e) => state.Apply(e.Data, state.Event + 1, e.Time));

    private static VolumeState Kept(VolumeState state) => StateSize.IsKept(state)
        ? state with { Checkpoints = [] }
        : state with { Checkpoints = [], Sizes = [], Bitmaps = [], Backups = [] };
}
