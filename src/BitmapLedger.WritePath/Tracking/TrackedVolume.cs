using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Journal;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>A volume that is written to and tracked: backend, gate, journal and bitmaps. Any number of
/// threads.</summary>
public sealed class TrackedVolume : IDisposable
{
    /// <summary>How long a rotation waits for writers before it gives up and the command answers busy.</summary>
    private static readonly TimeSpan _drainLimit = TimeSpan.FromSeconds(5);

    private readonly TimeProvider _clock;
    private long _closedAt;
    private readonly StallHistogram _stalls = new();
    private int _connections;

    private TrackedVolume(VolumeSpec spec, RawFileBackend backend, JournalWriter journal, TimeProvider clock)
    {
        Spec = spec;
        Backend = backend;
        Journal = journal;
        Bitmaps = new(spec.Size);
        _clock = clock;
    }

    /// <summary>What the volume was opened with.</summary>
    public VolumeSpec Spec { get; private set; }

    /// <summary>Whether clients may connect.</summary>
    public bool Published { get; internal set; }

    /// <summary>Clients connected now.</summary>
    public int Connections => Volatile.Read(ref _connections);

    internal RawFileBackend Backend { get; }

    internal JournalWriter Journal { get; }

    internal Gate Gate { get; } = new();

    internal BitmapTable Bitmaps { get; }

    internal bool StallsWhenFull => Spec.WhenFull == "stall";

    /// <summary>Opens backend and journal; opening recovers what a killed process left.</summary>
    /// <param name="spec">What to open.</param>
    /// <param name="journalDirectory">Directory of its journal.</param>
    /// <param name="clock">Wall clock.</param>
    /// <exception cref="BackendException">The image or a setting cannot be used.</exception>
    /// <exception cref="CorruptionException">The journal is damaged.</exception>
    public static TrackedVolume Open(VolumeSpec spec, string journalDirectory, TimeProvider clock)
    {
        if (spec.Durability != "process")
            throw new BackendException(
                "unsupported", $"Durability '{spec.Durability}' of volume '{spec.Name}' is not built yet; use --durability process");
        var backend = RawFileBackend.Open(spec.File, spec.ReadOnly);
        try
        {
            if (backend.Size < spec.Size)
                throw new BackendException(
                    "failed", $"'{spec.File}' has {backend.Size} bytes, fewer than the {spec.Size} of volume '{spec.Name}'");
            var journal = JournalWriter.Open(new(journalDirectory, spec.Id, spec.JournalQuota, spec.MinLsn, clock));
            return new(spec, backend, journal, clock);
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

    /// <summary>Makes what was replied to durable; an errno of the protocol.</summary>
    public int Flush() => Spec.ReadOnly ? 0 : Backend.Flush();

    /// <summary>Closes the gate for a rotation; false when a writer stayed inside too long.</summary>
    public bool TryCloseGate()
    {
        _closedAt = _clock.GetTimestamp();
        return Gate.TryClose(_drainLimit, _clock);
    }

    /// <summary>The cut of a rotation; the gate is closed.</summary>
    /// <param name="next">Granularity of the new live map.</param>
    public FenceRecord Cut(Granularity next)
    {
        var fence = Journal.AppendFence();
        Bitmaps.Swap(fence.Number, next);
        return fence;
    }

    /// <summary>Opens the gate after a rotation, done or not.</summary>
    public void OpenGate()
    {
        Gate.Open();
        _stalls.Record((long)_clock.GetElapsedTime(_closedAt).TotalMicroseconds);
    }

    /// <summary>How the volume is.</summary>
    public VolumeStatus Status() => new(
        Spec.Id, Spec.Name, Spec.Size, Published, Journal.LastLsn, Journal.OldestLsn, Journal.LastFence,
        Journal.NowMicroseconds(), Bitmaps.Complete, Journal.BytesOnDisk, Connections,
        ShowUse(), new(
            _stalls.Count, _stalls.QuantileMicroseconds(0.5), _stalls.QuantileMicroseconds(0.99), _stalls.LongestMicroseconds),
        Journal.Lost);

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
        Journal.Dispose();
        Backend.Dispose();
        Bitmaps.Dispose();
        Gate.Dispose();
    }
}
