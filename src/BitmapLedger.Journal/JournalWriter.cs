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
/// <para><b>Failure.</b> When the disk refuses a batch, its LSNs and slots are passed over: what did get stored are
/// requests that a client sent and nobody answered, and the rest is a hole.</para>
/// </remarks>
public sealed partial class JournalWriter : IDisposable
{
    /// <summary>Slots encoded at once; larger batches are written in pieces.</summary>
    private const int SlotsPerWrite = 1024;

    private readonly JournalOptions _options;
    private readonly Lock _lock = new();
    private readonly byte[] _buffer = GC.AllocateArray<byte>(SlotsPerWrite * JournalSlot.Size, pinned: true);
    private readonly BootState _boot;
    private readonly MonotoneClock _clock;
    private readonly SegmentChain _chain;
    private long _lastLsn;
    private long _lastFence;
    private int _lastConnection;
    private readonly ManualResetEventSlim _spaceFreed = new();
    private bool _closed;

    private JournalWriter(JournalOptions options, JournalRecovery found)
    {
        _options = options;
        _boot = BootState.Open(options.Directory, found.Segments.Count > 0);
        _clock = new(options.Clock, found.TimeMicroseconds);
        _lastLsn = Math.Max(found.LastLsn, options.MinLsn);
        _lastFence = found.LastFence;
        _lastConnection = found.LastConnection;
        _chain = new(options, found, Header);
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

    /// <summary>Why writes may be missing, until <see cref="AcknowledgeLoss"/>; null when none are.</summary>
    public string? Lost => _boot.IsLost
        ? "the machine went down while the volume was open, and durability 'process' does not cover that"
        : null;

    /// <summary>Opens a journal, or makes one. Opening is recovery: it reads all that is there.</summary>
    /// <exception cref="CorruptionException">A record before the last one is damaged.</exception>
    /// <exception cref="IOException">The directory or a file cannot be used.</exception>
    public static JournalWriter Open(JournalOptions options)
    {
        Directory.CreateDirectory(options.Directory);
        return new(options, JournalRecovery.Read(options.Directory, options.VolumeId));
    }

    /// <summary>A number for a client that has connected.</summary>
    /// <param name="name">Peer and identity; cut to <see cref="JournalSlot.NameBytesMax"/> bytes.</param>
    public JournalConnection Connect(string name)
    {
        lock (_lock)
            return new(_lastConnection = _lastConnection == int.MaxValue ? 1 : _lastConnection + 1, name);
    }

    /// <summary>Sets space aside for <paramref name="writes"/> writes.</summary>
    /// <param name="writes">How many; the name of their connection is allowed for.</param>
    /// <param name="wait">Whether to wait while the quota is used up, rather than to answer false.</param>
    /// <returns>False when there is no space, or the journal is closed.</returns>
    public bool Reserve(int writes, bool wait)
    {
        lock (_lock)
        {
            if (_closed)
                return false;
            if (_chain.TryReserve(writes + 1))
                return true;
        }

        return wait && WaitForSpace(writes + 1);
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
            var time = _clock.Next();
            firstLsn = _lastLsn + 1;
            _chain.Unreserve(writes.Length + 1);
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

    /// <summary>Frees the segments whose writes all have LSNs up to <paramref name="lsn"/>. The current one always
    /// stays.</summary>
    public void Release(long lsn)
    {
        lock (_lock)
        {
            Shipped(lsn);
            if (_chain.Release(lsn))
                _spaceFreed.Set();
        }
    }

    /// <summary>The ledger has recorded what <see cref="Lost"/> said.</summary>
    public void AcknowledgeLoss()
    {
        lock (_lock)
            _boot.Acknowledge();
    }

    /// <summary>Reserves nothing from now on, and sends away whoever waits for space.</summary>
    public void StopReserving()
    {
        lock (_lock)
            _closed = true;
        _spaceFreed.Set();
    }

    /// <summary>Closes the journal in order. Nobody appends any more.</summary>
    public void Dispose()
    {
        StopReserving();
        lock (_lock)
        {
            _boot.Close();
            _chain.Dispose();
        }
    }

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
        if (_chain.RoomInSlots == 0 && !_chain.TryNext())
        {
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

        var lsn = _lastLsn;
        for (; done < writes.Length && slots < room; done++, slots++)
        {
            var write = writes[done];
            new JournalSlot((SlotKind)write.Kind, ++lsn, time, write.Offset, write.Length, connection.Number)
                .Write(_buffer.AsSpan(slots * JournalSlot.Size), _chain.Salt);
        }

        Volatile.Write(ref _lastLsn, lsn);
        return _chain.TryWrite(_buffer.AsSpan(0, slots * JournalSlot.Size));
    }

    private SegmentHeader Header(long number) =>
        new(_options.VolumeId, number, _lastLsn, _lastFence, _clock.Last, _lastConnection);
}
