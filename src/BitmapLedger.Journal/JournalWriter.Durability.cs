using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Writes;

namespace BitmapLedger.Journal;

/// <content>What stands between a write and a power loss. Under durability <c>process</c> most of it is nothing.</content>
public sealed partial class JournalWriter
{
    private readonly Lock _freeing = new();
    private readonly List<Segment> _syncing = [];
    private readonly List<LsnRange> _refused = [];
    private IReadOnlyList<Extent> _recovered;
    private DurableMarks _marks;
    private DurableMarks _written;
    private long _stored;
    private long _storedDurable;
    private long _storedDurableLsn;
    private long _released;
    private long _flushedLsn = -1;
    private long _syncedChanges = -1;
    private bool _namesUnsynced;
    private bool _broken;
    private bool _suspect;

    /// <summary>LSN up to which every record is as durable as the volume wants it: only those may be shipped.</summary>
    public long DurableLsn
    {
        get
        {
            lock (_lock)
                return IsPower ? _marks.JournalLsn : _lastLsn;
        }
    }

    /// <summary>Whether the disk refused to make data or journal durable: what is there may revert at any time, and
    /// what did is found when the journal is opened next.</summary>
    public bool IsSuspect
    {
        get
        {
            lock (_lock)
                return _suspect;
        }
    }

    /// <summary>Extents that may have been written, or may have reverted, without a record, until
    /// <see cref="AcknowledgeLoss"/>.</summary>
    public IReadOnlyList<Extent> Recovered
    {
        get
        {
            lock (_lock)
                return _recovered;
        }
    }

    /// <summary>Why any block may have been written without a record, until <see cref="AcknowledgeLoss"/>; null when
    /// none was.</summary>
    public string? Lost => _boot.Loss switch
    {
        LossReason.None => null,
        LossReason.MachineWentDown => "the machine went down while the volume was open, and durability 'process' does not cover that",
        LossReason.ChangedWhileClosed => "the file was changed while the volume was closed",
        LossReason.EndUnknown => "the journal was damaged where it says how it was closed",
        _ => "the disk refused to make the data durable, and durability 'process' does not know what that touched",
    };

    /// <summary>Where what <see cref="Lost"/> and <see cref="Recovered"/> say happened, first and last; empty when nobody
    /// knows.</summary>
    public IReadOnlyList<LossPlace> Losses =>
        _boot.FirstLoss == LossPlace.None ? [] : _boot.FirstLoss == _boot.LastLoss ? [_boot.LastLoss] : [_boot.FirstLoss, _boot.LastLoss];

    /// <summary>
    /// Makes sure that a power loss between the data of some writes and their records leaves a trace: puts their
    /// regions into
    /// the activity log, durably. <see cref="Complete"/> lets go of them.
    /// </summary>
    /// <returns>False when there is no room: then the records must be durable before the data goes out.</returns>
    public bool TryProtect(ReadOnlySpan<WriteRequest> writes) => _activity is null || _activity.TryEnter(writes);

    /// <summary>Some writes have ended, well or not.</summary>
    /// <param name="writes">The writes.</param>
    /// <param name="connection">Whose they are.</param>
    /// <param name="isProtected">What <see cref="TryProtect"/> said.</param>
    public void Complete(ReadOnlySpan<WriteRequest> writes, JournalConnection connection, bool isProtected)
    {
        if (isProtected)
            _activity?.Leave(writes, LastLsn);
        connection.FirstInFlight = long.MaxValue;
    }

    /// <summary>Makes every record that was appended before this call durable; one sync serves all who wait.</summary>
    /// <returns>False when the disk refused, for good.</returns>
    public bool TryMakeDurable() => !IsPower || _commit.Run();

    /// <summary>Before a flush of the data, which <see cref="EndFlush"/> or <see cref="FailFlush"/> follows.</summary>
    /// <param name="lsn">The LSN up to which that flush will make it durable.</param>
    /// <returns>False when nothing was written since the last flush: then there is nothing to do.</returns>
    public bool TryBeginFlush(out long lsn)
    {
        lock (_lock)
        {
            lsn = _lastLsn;
            foreach (var connection in _connections)
                lsn = Math.Min(lsn, connection.FirstInFlight - 1);
            if (lsn == _lastLsn && lsn == _flushedLsn)
                return false;
            _flush.Begin();
            return true;
        }
    }

    /// <summary>The flush succeeded.</summary>
    /// <param name="lsn">What <see cref="TryBeginFlush"/> said.</param>
    public void EndFlush(long lsn)
    {
        lock (_lock)
        {
            _flush.End();
            _flushedLsn = lsn;
            // Data whose records are not durable yet counts when they are: marks never claim more data than journal.
            Advance(new(0, IsPower ? Math.Min(lsn, _marks.JournalLsn) : lsn));
        }
    }

    /// <summary>The flush failed: data that was written may revert. Said durably, for the next run to find.</summary>
    public void FailFlush()
    {
        lock (_lock)
        {
            _flush.Fail();
            Suspect();
        }
    }

    /// <summary>Frees the segments whose writes all have LSNs up to <paramref name="lsn"/>, under durability
    /// <c>power</c> once their data is durable too. The current one always stays.</summary>
    public void Release(long lsn)
    {
        lock (_lock)
        {
            _released = Math.Max(_released, lsn);
            Shipped(lsn);
        }

        Free();
    }

    /// <summary>The ledger has recorded what <see cref="Lost"/> and <see cref="Recovered"/> said.</summary>
    public void AcknowledgeLoss()
    {
        lock (_lock)
        {
            _boot.Acknowledge();
            if (_recovered.Count == 0)
                return;
            RecoveredWrites.Delete(_options);
            _recovered = [];
        }
    }

    /// <summary>Puts things in order that no request should wait for. Called about once a second.</summary>
    /// <returns>Whether a flush of the data would let regions or segments go.</returns>
    public bool Tidy()
    {
        _ceiling.KeepAhead(LastLsn);
        if (!IsPower)
            return false;
        bool waiting, behind;
        waiting = _activity!.Tidy();
        SegmentPreparation? preparation;
        lock (_lock)
            preparation = _written != _marks && _chain.RoomInSlots == 0 ? _chain.Preparation : null;
        preparation?.Wait();
        lock (_lock)
        {
            if (_suspect)
                Suspect();
            behind = _lastLsn > _marks.JournalLsn;
            waiting |= _chain.Oldest(_released) is not null && _chain.Oldest(Math.Min(_released, _marks.DataLsn)) is null;
            behind |= TryWriteMarks();
        }

        if (behind)
            _ = TryMakeDurable();
        Free();
        return waiting;
    }

    /// <summary>Closes the journal; in order only where journal and data are durable.</summary>
    /// <param name="identity">The data as it is now, to tell at the next start whether somebody wrote to it.</param>
    public void Close(FileIdentity identity)
    {
        StopReserving();
        var durable = TrySyncAll();
        lock (_lock)
        {
            try
            {
                if (durable && !_suspect && !_boot.IsUnsure && _marks.DataLsn >= _lastLsn)
                    _boot.Close(identity, _storedLsn);
            }
            finally
            {
                _chain.Dispose();
                _activity?.Dispose();
                _flush.Dispose();
            }
        }
    }

    private bool TrySyncAll()
    {
        if (IsPower)
            return TryMakeDurable();
        _flush.Begin();
        try
        {
            foreach (var header in _chain.Headers)
            {
                using var file = _options.Disk.TryOpen(
                    SegmentFiles.PathOf(_options.Directory, header.Number), writable: true);
                file?.Sync();
            }

            _options.Disk.SyncDirectory(_options.Directory);
            _flush.End();
            return true;
        }
        catch (IOException)
        {
            FailFlush();
            return false;
        }
    }

    /// <summary>Marks that nothing carried along; made durable too they bound what a power loss tells.</summary>
    private bool TryWriteMarks()
    {
        if (_written == _marks || _broken || (_chain.RoomInSlots == 0 && !_chain.TryNext()))
            return false;
        PutMarks(0, _clock.Next());
        return _chain.TryWrite(_buffer.AsSpan(0, JournalSlot.Size));
    }

    private bool Commit()
    {
        long lsn, stored, storedLsn, changes;
        lock (_lock)
        {
            if (_broken)
                return false;
            (lsn, stored, storedLsn, changes) = (_lastLsn, _stored, _storedLsn, _chain.Changes);
            if (changes == _syncedChanges)
                return true;
            _syncing.Clear();
            _chain.Unsynced(_syncing);
        }

        try
        {
            foreach (var segment in _syncing)
                segment.File.Sync();
        }
        catch (IOException)
        {
            lock (_lock)
                return TryRewrite();
        }

        lock (_lock)
        {
            _chain.Synced(_syncing);
            (_storedDurable, _storedDurableLsn) = (stored, storedLsn);
            _syncedChanges = changes;
            _refused.RemoveAll(r => r.Last <= lsn);
            Advance(new(lsn, 0));
        }

        return true;
    }

    /// <summary>A sync failed: what it was for is written again elsewhere, or nothing is taken any more.</summary>
    private bool TryRewrite()
    {
        try
        {
            Rewrite(_marks.JournalLsn, _stored - _storedDurable);
            return true;
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException or CorruptionException)
        {
            _broken = true;
            Suspect();
            return false;
        }
    }

    private void Rewrite(long aboveLsn, long? expected)
    {
        var rewriting = new SegmentRewriting(_options, Header);
        rewriting.Collect(_chain.Headers, aboveLsn, lsn => _refused.Exists(r => r.First <= lsn && lsn <= r.Last));
        if (expected is { } count && rewriting.Count != count)
            throw new IOException($"the disk has forgotten {count - rewriting.Count} of {count} records");
        _chain.ForgetNext();
        // The marks say which LSN was given last; that all of this is durable may only be written once it is.
        var written = rewriting.Write(_chain.Number + 1, aboveLsn, _storedDurableLsn, Marks(_clock.Next()));
        _chain.Continue(written, rewriting.Position);
        (_storedDurable, _storedLsn, _storedDurableLsn) = (_stored, rewriting.StoredLsn, rewriting.StoredLsn);
        _refused.Clear();
        Advance(new(_lastLsn, 0));
    }

    private void Advance(DurableMarks marks)
    {
        _marks = _marks.Max(marks);
        _activity?.Clean(_marks.Both);
    }

    private void Suspect()
    {
        _suspect = true;
        try
        {
            _boot.Suspect();
        }
        catch (Exception refusal) when (refusal is IOException or UnauthorizedAccessException)
        {
            // Tried again at every chance: the disk that refused the data refuses this too for now.
        }
    }

    /// <summary>One segment after the other, and its name gone durably before the next: a journal never has a gap.</summary>
    private void Free()
    {
        lock (_freeing)
        {
            try
            {
                while (true)
                {
                    SegmentHeader? oldest;
                    lock (_lock)
                        oldest = _chain.Oldest(IsPower ? Math.Min(_released, _marks.DataLsn) : _released);
                    if (IsPower && _namesUnsynced)
                        _options.Disk.SyncDirectory(_options.Directory);
                    _namesUnsynced = false;
                    if (oldest is not { } header)
                        return;
                    _options.Disk.Delete(SegmentFiles.PathOf(_options.Directory, header.Number));
                    _namesUnsynced = true;
                    lock (_lock)
                        _chain.DropOldest();
                    _spaceFreed.Set();
                }
            }
            catch (IOException)
            {
                // It stays a little longer; the next release tries again.
            }
        }
    }
}
