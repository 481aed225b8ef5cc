using BitmapLedger.Journal;
using BitmapLedger.Nbd;

namespace BitmapLedger.WritePath.Tracking;

/// <summary>The write path of one connection. One thread; allocates nothing once it has seen its largest
/// batch.</summary>
public sealed class VolumeWriter : IDisposable
{
    private readonly TrackedVolume _volume;
    private readonly JournalConnection _connection;
    private readonly int _place;
    private WriteRequest[] _requests = new WriteRequest[64];

    internal VolumeWriter(TrackedVolume volume, JournalConnection connection, int place)
    {
        _volume = volume;
        _connection = connection;
        _place = place;
    }

    /// <summary>
    /// Does a batch in order of arrival: space in the journal, a trace that a power loss leaves, into the gate, marks,
    /// journal,
    /// and only then the backend. A mark can be too many, never missing; a write whose record cannot be stored does
    /// not happen.
    /// </summary>
    /// <param name="data">What <see cref="PendingWrite.DataStart"/> points into.</param>
    /// <param name="batch">The writes; each gets its <see cref="PendingWrite.Errno"/>. One with
    /// <see cref="PendingWrite.Fua"/> may be answered once a flush that begins after this call has succeeded: outside
    /// the gate, since a rotation waits for no disk.</param>
    public void Write(ReadOnlySpan<byte> data, Span<PendingWrite> batch)
    {
        var count = Collect(batch);
        var journal = _volume.Journal;
        if (count > 0 && !journal.Reserve(count, _volume.StallsWhenFull))
        {
            Refuse(batch, NbdErrno.NoSpace);
            return;
        }

        var requests = _requests.AsSpan(0, count);
        var isProtected = journal.TryProtect(requests);
        bool fits;
        _volume.Gate.Enter(_place);
        try
        {
            fits = MarkDirty(requests);
            if (fits && count > 0 && !(journal.TryAppend(requests, _connection, out _) && (isProtected || journal.TryMakeDurable())))
                Refuse(batch, _connection.LacksRoom ? NbdErrno.NoSpace : NbdErrno.InputOutput);
            else if (fits)
                Perform(data, batch);
        }
        finally
        {
            _volume.Gate.Leave(_place);
            journal.Complete(requests, _connection, isProtected);
        }

        if (fits)
            return;
        journal.Unreserve(count);
        WriteWhatFits(data, batch);
    }

    /// <summary>Gives the place of the connection back.</summary>
    public void Dispose()
    {
        _volume.Journal.Disconnect(_connection);
        _volume.Gate.Unregister(_place);
    }

    /// <summary>Marks a batch, unless some of it was asked for before the volume was made smaller.</summary>
    private bool MarkDirty(ReadOnlySpan<WriteRequest> requests)
    {
        var live = _volume.Bitmaps.Live;
        foreach (ref readonly var request in requests)
            if (request.Offset + request.Length > live.VolumeBytes)
                return false;
        foreach (ref readonly var request in requests)
            live.MarkDirty(request.Offset, request.Length);
        return true;
    }

    /// <summary>The writes of a batch that are behind the end by now must not keep the others from being done.</summary>
    private void WriteWhatFits(ReadOnlySpan<byte> data, Span<PendingWrite> batch)
    {
        if (batch.Length == 1)
            batch[0].Errno = NbdErrno.NoSpace;
        for (var i = 0; i < batch.Length && batch.Length > 1; i++)
            Write(data, batch.Slice(i, 1));
    }

    private int Collect(Span<PendingWrite> batch)
    {
        if (_requests.Length < batch.Length)
            _requests = new WriteRequest[Math.Max(batch.Length, _requests.Length * 2)];
        var count = 0;
        foreach (ref readonly var write in batch)
            if (write.Length > 0)
                _requests[count++] = new(write.Kind, write.Offset, write.Length);
        return count;
    }

    private void Perform(ReadOnlySpan<byte> data, Span<PendingWrite> batch)
    {
        foreach (ref var write in batch)
            write.Errno = write.Length == 0 ? 0 : Perform(data, in write);
    }

    private int Perform(ReadOnlySpan<byte> data, in PendingWrite write) => write.Kind switch
    {
        Bitmaps.Writes.WriteKind.Write => _volume.Backend.Write(
            write.Offset, data.Slice(write.DataStart, (int)write.Length)),
        Bitmaps.Writes.WriteKind.Trim => _volume.Backend.Trim(write.Offset, write.Length),
        _ => _volume.Backend.WriteZeroes(write.Offset, write.Length, mayPunchHole: !write.NoHole, write.FastZero),
    };

    private static void Refuse(Span<PendingWrite> batch, int errno)
    {
        foreach (ref var write in batch)
            write.Errno = write.Length == 0 ? 0 : errno;
    }
}
