using BitmapLedger.Bitmaps;

namespace BitmapLedger.Journal;

/// <summary>
/// Appends the writes of one volume, in LSN order, before they happen. One process writes; others may read beside it.
/// </summary>
/// <remarks>
/// <para><b>Threads.</b> All members may be called from any thread; a <see cref="JournalConnection"/> belongs to
/// one.</para>
/// <para><b>Space.</b> <see cref="Reserve"/> first, outside the gate, so that whoever waits for space holds up
/// nobody.</para>
/// <para><b>Order.</b> <see cref="TryProtect"/>, then <see cref="TryAppend"/>, then, if the first said no,
/// <see cref="TryMakeDurable"/>; only then the data; then <see cref="Complete"/>.</para>
/// <para><b>Failure.</b> When the disk refuses a batch, its LSNs and slots are passed over: what did get stored are
/// requests that a client sent and nobody answered, and the rest is a hole.</para>
/// </remarks>
public sealed partial class JournalWriter : IDisposable
{
    /// <summary>Slots encoded at once; larger batches are written in pieces.</summary>
    private const int SlotsPerWrite = 1024;

    /// <summary>Beside its writes a batch may need slots for the name of its connection and for marks.</summary>
    private const int SlotsBesideWrites = 2;

    private readonly JournalOptions _options;
    private readonly Lock _lock = new();
    private readonly byte[] _buffer = GC.AllocateArray<byte>(SlotsPerWrite * JournalSlot.Size, pinned: true);
    private readonly List<JournalConnection> _connections = [];
    private readonly BootState _boot;
    private readonly LsnCeiling _ceiling;
    private readonly ActivityLog? _activity;
    private readonly FlushNote _flush;
    private readonly GroupCommit _commit;
    private readonly MonotoneClock _clock;
    private readonly SegmentChain _chain;
    private readonly ManualResetEventSlim _spaceFreed = new();
    private long _lastLsn;
    private long _storedLsn;
    private long _lastFence;
    private int _lastConnection;
    private bool _closed;

    private JournalWriter(JournalOptions options, JournalOpening opening)
    {
        _options = options;
        _boot = opening.Boot;
        _ceiling = opening.Ceiling;
        _activity = opening.Activity;
        _flush = opening.Flush;
        _recovered = opening.Recovered;
        _marks = opening.RewriteAbove is null ? opening.Marks : opening.Found.Marks;
        _written = opening.Found.Marks;
        _commit = new(Commit);
        _clock = new(options.Clock, Math.Max(opening.Found.TimeMicroseconds, opening.Boot.LastLoss.TimeMicroseconds));
        _lastLsn = opening.LastLsn;
        _storedLsn = opening.IsPartial ? 0 : opening.Found.LastLsn;
        _lastFence = opening.Found.LastFence;
        _lastConnection = opening.Found.LastConnection;
        _chain = new(options, opening.Found, Header);
        try
        {
            var isNew = opening.Found.Segments.Count == 0;
            if (opening.RewriteAbove is { } above && !isNew)
                Rewrite(above, expected: null);
            // Before anything else, so that whoever reads this knows that records may be missing before it.
            else if (opening.IsPartial && !isNew)
                _chain.Next();
            // Now that what they held is told or void: one without a header, behind which others are, would be damage.
            SegmentFiles.DeleteUnused(options.Disk, options.Directory, options.VolumeId, _chain.Number);
            Advance(opening.Marks);
        }
        catch
        {
            _chain.Dispose();
            throw;
        }
    }

    /// <summary>LSN of the last write; 0 when there was none.</summary>
    public long LastLsn => Volatile.Read(ref _lastLsn);

    /// <summary>Number of the last fence; 0 when there was none.</summary>
    public long LastFence => Volatile.Read(ref _lastFence);

    /// <summary>LSN of the oldest write that may still be read.</summary>
    public long OldestLsn
    {
        get
        {
            lock (_lock)
                return _chain.OldestLsn;
        }
    }

    /// <summary>Bytes that the segments take.</summary>
    public long BytesOnDisk
    {
        get
        {
            lock (_lock)
                return _chain.BytesOnDisk;
        }
    }

    private bool IsPower => _options.Durability == JournalDurability.Power;

    /// <summary>Opens a journal, or makes one. Opening is recovery: it reads all that is there.</summary>
    /// <exception cref="CorruptionException">A record before the last one is damaged.</exception>
    /// <exception cref="IOException">The directory or a file cannot be used.</exception>
    public static JournalWriter Open(JournalOptions options)
    {
        var opening = JournalOpening.Run(options);
        try
        {
            return new(options, opening);
        }
        catch
        {
            opening.Activity?.Dispose();
            opening.Flush.Dispose();
            throw;
        }
    }

    /// <summary>A number for a client that has connected.</summary>
    /// <param name="name">Peer and identity; cut to <see cref="JournalSlot.NameBytesMax"/> bytes.</param>
    public JournalConnection Connect(string name)
    {
        lock (_lock)
        {
            var connection = new JournalConnection(
                _lastConnection = _lastConnection == int.MaxValue ? 1 : _lastConnection + 1, name);
            _connections.Add(connection);
            return connection;
        }
    }

    /// <summary>A client has gone; none of its writes is under way.</summary>
    public void Disconnect(JournalConnection connection)
    {
        lock (_lock)
            _connections.Remove(connection);
    }

    /// <summary>Sets space aside for <paramref name="writes"/> writes.</summary>
    /// <param name="writes">How many; what a batch needs beside them is allowed for.</param>
    /// <param name="wait">Whether to wait while the quota is used up, rather than to answer false.</param>
    /// <returns>False when there is no space, or the journal is closed.</returns>
    public bool Reserve(int writes, bool wait)
    {
        SegmentPreparation? preparation;
        lock (_lock)
            preparation = _chain.IsShort(writes + SlotsBesideWrites) ? _chain.Preparation : null;
        // Here and not where it is needed: there the gate would be held, and a rotation would wait for the disk.
        preparation?.Wait();
        lock (_lock)
        {
            if (_closed)
                return false;
            if (_chain.TryReserve(writes + SlotsBesideWrites))
                return true;
        }

        return wait && WaitForSpace(writes + SlotsBesideWrites);
    }

    /// <summary>Gives space back that no batch will use.</summary>
    public void Unreserve(int writes)
    {
        lock (_lock)
            _chain.Unreserve(writes + SlotsBesideWrites);
        _spaceFreed.Set();
    }

    /// <summary>Appends a batch of one connection, for which space was reserved.</summary>
    /// <param name="writes">In order of arrival.</param>
    /// <param name="connection">Whose they are.</param>
    /// <param name="firstLsn">LSN of the first; the others follow.</param>
    /// <returns>False when the disk refused: then none of these writes may happen.</returns>
    public bool TryAppend(ReadOnlySpan<WriteRequest> writes, JournalConnection connection, out long firstLsn)
    {
        lock (_lock)
        {
            firstLsn = _lastLsn + 1;
            _chain.Unreserve(writes.Length + SlotsBesideWrites);
            if (_broken || !_ceiling.TryCover(_lastLsn + writes.Length))
                return false;
            var time = _clock.Next();
            connection.FirstInFlight = firstLsn;
            var stored = true;
            for (var done = 0; done < writes.Length;)
                stored &= TryAppendPiece(writes, ref done, time, connection);
            return stored;
        }
    }

    /// <summary>Records a rotation. Nobody appends meanwhile: the gate is closed.</summary>
    /// <exception cref="IOException">The disk refused.</exception>
    public FenceRecord AppendFence()
    {
        lock (_lock)
        {
            if (_broken)
                throw new IOException("the disk refused to make the journal durable; it takes nothing more");
            var fence = new FenceRecord(_lastFence + 1, _lastLsn, _clock.Next());
            if (_chain.RoomInSlots == 0)
                _chain.Next();
            new JournalSlot(
                SlotKind.Fence, fence.Lsn, fence.TimeMicroseconds, fence.Number, 0, 0).Write(_buffer, _chain.Salt);
            _chain.Write(_buffer.AsSpan(0, JournalSlot.Size));
            Volatile.Write(ref _lastFence, fence.Number);
            return fence;
        }
    }

    /// <summary>The volume's clock.</summary>
    public long NowMicroseconds()
    {
        lock (_lock)
            return _clock.Next();
    }

    /// <summary>Reserves nothing from now on, and sends away whoever waits for space.</summary>
    public void StopReserving()
    {
        lock (_lock)
            _closed = true;
        _spaceFreed.Set();
    }

    /// <summary>Closes the journal; in order only where everything is durable.</summary>
    public void Dispose() => Close(default);

    private bool WaitForSpace(int slots)
    {
        while (true)
        {
            lock (_lock)
            {
                if (_closed)
                    return false;
                if (_chain.TryReserve(slots))
                    return true;
                _spaceFreed.Reset();
            }

            _spaceFreed.Wait();
        }
    }

    private bool TryAppendPiece(
        ReadOnlySpan<WriteRequest> writes, ref int done, long time, JournalConnection connection)
    {
        connection.LacksRoom = false;
        if (_chain.RoomInSlots == 0 && !_chain.TryNext())
        {
            connection.LacksRoom = _chain.IsDiskFull;
            done = writes.Length;
            return false;
        }

        var room = Math.Min(_chain.RoomInSlots, SlotsPerWrite);
        var slots = 0;
        if (connection.NamedInSegment != _chain.Number)
        {
            connection.NamedInSegment = _chain.Number;
            new JournalSlot(SlotKind.Connection, _lastLsn, time, 0, 0, connection.Number)
                .Write(_buffer, _chain.Salt, connection.Name.Span);
            slots++;
        }

        if (IsPower && _written != _marks && slots < room)
            PutMarks(slots++, time);
        var lsn = _lastLsn;
        for (; done < writes.Length && slots < room; done++, slots++)
        {
            var write = writes[done];
            new JournalSlot((SlotKind)write.Kind, ++lsn, time, write.Offset, write.Length, connection.Number)
                .Write(_buffer.AsSpan(slots * JournalSlot.Size), _chain.Salt);
        }

        var stored = _chain.TryWrite(_buffer.AsSpan(0, slots * JournalSlot.Size));
        if (stored)
            (_stored, _storedLsn) = (_stored + lsn - _lastLsn, lsn);
        else
            _refused.Add(new(_lastLsn + 1, lsn));
        Volatile.Write(ref _lastLsn, lsn);
        return stored;
    }

    private void PutMarks(int slot, long time)
    {
        Marks(time).Write(_buffer.AsSpan(slot * JournalSlot.Size), _chain.Salt);
        _written = _marks;
    }

    private JournalSlot Marks(long time) => new(SlotKind.Marks, _lastLsn, time, _marks.DataLsn, _marks.JournalLsn, 0);

    private SegmentHeader Header(long number) =>
        new(_options.VolumeId, number, _lastLsn, _lastFence, _clock.Last, _lastConnection, _marks, Rewrites: false)
        {
            StoredLsn = _storedLsn,
            Durability = _options.Durability,
        };
}
