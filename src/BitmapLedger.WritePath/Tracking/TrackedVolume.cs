using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Journal;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A volume that is written to and tracked: backend, gate, journal and bitmaps. Any number of
/// threads.</summary>
public sealed class TrackedVolume : IDisposable
{
    /// <summary>How long a rotation waits for writers before it gives up and the command answers busy.</summary>
    private static readonly TimeSpan _drainLimit = TimeSpan.FromSeconds(5);

    /// <summary>A client that only wants to watch must not hold up others for so long.</summary>
    private static readonly TimeSpan _watchLimit = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock;
    private readonly GroupCommit _flushing;
    private readonly Lock _tidying = new();

    /// <summary>Held from when the gate is closed until it is opened: one closer at a time.</summary>
    private readonly Lock _cutting = new();

    private int _flushErrno;
    private bool _disposed;
    private long _closedAt;
    private readonly StallHistogram _stalls = new();
    private int _connections;

    private TrackedVolume(VolumeSpec spec, IBackend backend, JournalWriter journal, TimeProvider clock)
    {
        Spec = spec;
        Backend = backend;
        Journal = journal;
        Bitmaps = new(spec.Size);
        _clock = clock;
        _flushing = new(FlushData);
    }

    /// <summary>What the volume was opened with.</summary>
    public VolumeSpec Spec { get; private set; }

    /// <summary>Whether clients may connect.</summary>
    public bool Published { get; internal set; }

    /// <summary>Clients connected now.</summary>
    public int Connections => Volatile.Read(ref _connections);

    internal IBackend Backend { get; }

    /// <summary>What it journals to.</summary>
    public JournalWriter Journal { get; }

    internal Gate Gate { get; } = new();

    internal BitmapTable Bitmaps { get; }

    internal bool StallsWhenFull => Spec.WhenFull == "stall";

    /// <summary>Opens backend and journal; opening recovers what a killed process or a power loss left.</summary>
    /// <param name="spec">What to open.</param>
    /// <param name="journalDirectory">Directory of its journal.</param>
    /// <param name="machine">Clock and boot of the machine.</param>
    /// <exception cref="BackendException">The image or a setting cannot be used.</exception>
    /// <exception cref="CorruptionException">The journal is damaged.</exception>
    public static TrackedVolume Open(VolumeSpec spec, string journalDirectory, Machine machine)
    {
        var backend = RawFileBackend.Open(spec.File, spec.ReadOnly);
        return Open(spec, backend, new(journalDirectory, spec.Id, spec.JournalQuota, spec.MinLsn, machine.Clock)
        {
            BootId = machine.BootId,
            Mounts = MountInstance.Of(journalDirectory, spec.File),
        });
    }

    /// <summary>Opens a volume on a backend, which is taken over.</summary>
    /// <param name="spec">What to open.</param>
    /// <param name="backend">Where its data is.</param>
    /// <param name="options">Its journal; what <paramref name="spec"/> says of it holds.</param>
    /// <exception cref="BackendException">The backend or a setting cannot be used.</exception>
    /// <exception cref="CorruptionException">The journal is damaged.</exception>
    public static TrackedVolume Open(VolumeSpec spec, IBackend backend, JournalOptions options)
    {
        try
        {
            if (backend.Size < spec.Size)
                throw new BackendException(
                    "failed", $"'{spec.File}' has {backend.Size} bytes, fewer than the {spec.Size} of volume '{spec.Name}'");
            var journal = JournalWriter.Open(options with
            {
                Durability = Durability(spec),
                VolumeBytes = spec.Size,
                Identity = backend.Identity(),
                Data = backend,
            });
            return new(spec, backend, journal, options.Clock);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>The write path of a new connection; null when there are too many.</summary>
    /// <param name="peer">Peer and identity, for the journal.</param>
    public VolumeWriter? Connect(string peer)
    {
        var place = Gate.Register();
        if (place < 0)
            return null;
        Interlocked.Increment(ref _connections);
        return new(this, Journal.Connect(peer), place);
    }

    /// <summary>A connection has ended.</summary>
    public void Disconnect(VolumeWriter writer)
    {
        writer.Dispose();
        Interlocked.Decrement(ref _connections);
    }

    /// <summary>Reads; an errno of the protocol.</summary>
    public int Read(long offset, Span<byte> target) => Backend.Read(offset, target);

    /// <summary>Reads what needs no disk.</summary>
    public bool TryReadNoWait(long offset, Span<byte> target) => Backend.TryReadNoWait(offset, target);

    /// <summary>
    /// Makes what was replied to durable, its records before its data; an errno of the protocol. One flush serves all
    /// who wait.
    /// Once it failed it fails for as long as the volume is open, as in QEMU: what the system could not write it has
    /// forgotten.
    /// </summary>
    public int Flush()
    {
        if (Spec.ReadOnly)
            return 0;
        if (Volatile.Read(ref _flushErrno) == 0)
        {
            // Two steps, each shared by all who wait for it: while one flush waits for the data another may wait for the
            // journal.
            if (!Journal.TryMakeDurable())
                Volatile.Write(ref _flushErrno, NbdErrno.InputOutput);
            else if (_flushing.Run())
                return 0;
        }

        return Volatile.Read(ref _flushErrno);
    }

    /// <summary>Puts things in order that no request should wait for. Called about once a second.</summary>
    public void Tidy()
    {
        lock (_tidying)
        {
            if (!_disposed && !Spec.ReadOnly && Journal.Tidy())
                _ = Flush();
        }
    }

    /// <summary>Closes the gate for a rotation; false when a writer stayed inside too long, or the volume is closed. The same
    /// thread opens it.</summary>
    public bool TryCloseGate() => TryCloseGate(_drainLimit);

    /// <summary>Begins to watch what is written. Every write that the watch does not see is in the journal when this returns:
    /// whoever asks the ledger then, and not before, misses none.</summary>
    /// <returns>Null when a writer stayed inside too long, or the volume is closed.</returns>
    internal ChangeWatch? TryWatch()
    {
        if (Bitmaps.TryWatch(() => Journal.LastLsn) is { } atOnce)
            return atOnce;
        if (!TryCloseGate(_watchLimit))
            return null;
        try
        {
            return Bitmaps.Watch(Journal.LastFence + 1, Journal.LastLsn);
        }
        finally
        {
            OpenGate();
        }
    }

    /// <summary>The cut of a rotation; the gate is closed.</summary>
    /// <param name="next">Granularity of the new live map.</param>
    public FenceRecord Cut(Granularity next)
    {
        var fence = Journal.AppendFence();
        Bitmaps.Swap(fence.Number, next, Spec.Size);
        return fence;
    }

    /// <summary>Makes room for a larger size while clients write on: nobody may use it before <see cref="Resize"/>.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <exception cref="BackendException">The volume is read-only, or its backend keeps its length.</exception>
    internal void MakeRoom(long bytes)
    {
        if (Spec.ReadOnly)
            throw new BackendException("read-only", "Image is read-only");
        if (bytes > Spec.Size)
            Backend.Resize(Spec.Size, bytes);
    }

    /// <summary>Another size from the next cut on; <see cref="MakeRoom"/> was called, and the gate is closed.</summary>
    /// <param name="bytes">Bytes.</param>
    /// <param name="remember">Keeps the size for the next start. A smaller one is kept before bytes go, a larger one when
    /// they are there: a start in between finds as many bytes as it was told of, or more.</param>
    /// <exception cref="BackendException">The backend keeps its length; nothing changed.</exception>
    internal void Resize(long bytes, Action remember)
    {
        var before = Spec;
        Spec = before with { Size = bytes };
        try
        {
            remember();
            if (bytes < before.Size)
                Backend.Resize(before.Size, bytes);
        }
        catch
        {
            Spec = before;
            remember();
            throw;
        }
    }

    /// <summary>Opens the gate after a rotation, done or not.</summary>
    public void OpenGate()
    {
        Gate.Open();
        _stalls.Record((long)_clock.GetElapsedTime(_closedAt).TotalMicroseconds);
        _cutting.Exit();
    }

    /// <summary>How the volume is.</summary>
    public VolumeStatus Status() => new(
        Spec.Id, Spec.Name, Spec.Size, Published, Journal.LastLsn, Journal.OldestLsn, Journal.LastFence,
        Journal.NowMicroseconds(), Bitmaps.Complete, Journal.BytesOnDisk, Connections,
        ShowUse(), new(
            _stalls.Count, _stalls.QuantileMicroseconds(0.5), _stalls.QuantileMicroseconds(0.99), _stalls.LongestMicroseconds),
        Journal.Lost, Journal.DurableLsn, [.. Journal.Recovered.Select(e => new RecoveredExtent(e.Offset, e.Length))])
    {
        Losses = [.. Journal.Losses.Select(l => new LossAt(l.Lsn, l.TimeMicroseconds))],
    };

    /// <summary>How much of its journal's quota is used.</summary>
    internal JournalUse Use => Journal.Use;

    /// <summary>Another quota from now on.</summary>
    internal void SetQuota(long bytes)
    {
        Spec = Spec with { JournalQuota = bytes };
        Journal.SetQuota(bytes);
    }

    private QuotaUse ShowUse()
    {
        var use = Use;
        return new(
            use.UsedBytes, use.QuotaBytes, Spec.WhenFull, use.IsFull, use.ShippedLsn, use.WaitingSinceMicroseconds);
    }

    /// <summary>Closes all of it in order. No connection uses it any more.</summary>
    public void Dispose()
    {
        lock (_tidying)
        {
            if (_disposed)
                return;
            _disposed = true;
            _ = Flush();
            Journal.Close(Backend.Identity());
        }

        lock (_cutting)
        {
            Backend.Dispose();
            Bitmaps.Dispose();
            Gate.Dispose();
        }
    }

    private bool TryCloseGate(TimeSpan limit)
    {
        if (!_cutting.TryEnter(limit))
            return false;
        _closedAt = _clock.GetTimestamp();
        if (!Volatile.Read(ref _disposed) && Gate.TryClose(limit, _clock))
            return true;
        _cutting.Exit();
        return false;
    }

    private static JournalDurability Durability(VolumeSpec spec) => spec.Durability switch
    {
        "power" => JournalDurability.Power,
        "process" => JournalDurability.Process,
        _ => throw new BackendException(
            "unsupported", $"Durability '{spec.Durability}' of volume '{spec.Name}' is not known; take power or process"),
    };

    private bool FlushData()
    {
        if (_flushErrno != 0)
            return false;
        if (Journal.TryBeginFlush(out var lsn))
        {
            var errno = Backend.Flush();
            if (errno == 0)
                Journal.EndFlush(lsn);
            else
                Journal.FailFlush();
            Volatile.Write(ref _flushErrno, errno);
            return errno == 0;
        }

        return true;
    }
}
