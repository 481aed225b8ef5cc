using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>Turns requests of one connection into calls of its volume, and their results into replies. One
/// thread.</summary>
internal sealed class RequestHandler(
    ITrackedExport export, VolumeWriter writer, Handshake handshake, ReplySender sender, LateFlushes flushes)
{
    private const int BatchMax = 1024;

    /// <summary>Replies are sent early when they have grown to this.</summary>
    private const int ReplyBytesMax = 1 << 20;

    private readonly TrackedVolume _volume = export.Volume;
    private readonly bool _readOnly = export.ReadOnly;
    private readonly bool _writeThrough = export.WriteThrough;
    private readonly PendingWrite[] _batch = new PendingWrite[BatchMax];
    private readonly ulong[] _cookies = new ulong[BatchMax];
    private readonly List<StatusExtent> _extents = [];
    private readonly ReplyBuffer _replies = sender.Replies;
    private int _batched;

    /// <summary>Handles a request; a write waits for those that follow it.</summary>
    /// <param name="request">As it came.</param>
    /// <param name="dataStart">Where its payload begins in <paramref name="buffer"/>.</param>
    /// <param name="buffer">Everything received.</param>
    public void Handle(in NbdRequest request, int dataStart, ReadOnlySpan<byte> buffer)
    {
        var errno = request.Refusal(_volume.Spec.Size, _readOnly, handshake.Contexts.Count > 0, out var text);
        if (errno == 0 && request.IsWrite)
        {
            if (_batched == BatchMax)
                WriteBatch(buffer);
            _cookies[_batched] = request.Cookie;
            _batch[_batched++] = Pending(request, dataStart);
            return;
        }

        WriteBatch(buffer);
        if (errno != 0)
            Error(request.Cookie, errno, text);
        else
            Answer(request);
        if (_replies.Length > ReplyBytesMax)
            sender.Send();
    }

    /// <summary>Everything received is handled: does the writes that wait and sends the replies.</summary>
    public void Finish(ReadOnlySpan<byte> buffer)
    {
        WriteBatch(buffer);
        sender.Send();
    }

    /// <summary>The last reply of a stream that is lost.</summary>
    public void RefuseStream(in NbdRequest request)
    {
        Error(request.Cookie, NbdErrno.Invalid, "invalid magic, or a write longer than the maximum");
        sender.Send();
    }

    private PendingWrite Pending(in NbdRequest request, int dataStart) => new()
    {
        Kind = request.Command switch
        {
            NbdCommand.Write => WriteKind.Write,
            NbdCommand.Trim => WriteKind.Trim,
            _ => WriteKind.WriteZeroes,
        },
        NoHole = (request.Flags & NbdCommandFlags.NoHole) != NbdCommandFlags.None,
        FastZero = (request.Flags & NbdCommandFlags.FastZero) != NbdCommandFlags.None,
        Fua = _writeThrough || (request.Flags & NbdCommandFlags.Fua) != NbdCommandFlags.None,
        Offset = (long)request.Offset,
        Length = request.Length,
        DataStart = dataStart,
    };

    private void WriteBatch(ReadOnlySpan<byte> buffer)
    {
        if (_batched == 0)
            return;
        var batch = _batch.AsSpan(0, _batched);
        writer.Write(buffer, batch);
        for (var i = 0; i < batch.Length; i++)
        {
            if (batch[i].Errno == 0 && batch[i].Fua)
                flushes.Add(_cookies[i]);
            else if (batch[i].Errno == 0)
                _replies.Simple(_cookies[i], 0);
            else
                Error(_cookies[i], batch[i].Errno, "the write failed");
        }

        _batched = 0;
    }

    private void Answer(in NbdRequest request)
    {
        switch (request.Command)
        {
            case NbdCommand.Read:
                Read(request);
                break;
            case NbdCommand.BlockStatus:
                BlockStatus(request);
                break;
            case NbdCommand.Flush:
                flushes.Add(request.Cookie);
                break;
            default:
                _replies.Simple(request.Cookie, 0);
                break;
        }
    }

    private void Read(in NbdRequest request)
    {
        if ((request.Flags & NbdCommandFlags.Fua) != NbdCommandFlags.None && _volume.Flush() is var errno and not 0)
        {
            Error(request.Cookie, errno, "the flush before the read failed");
            return;
        }

        if (request.Length == 0)
        {
            if (handshake.StructuredReplies)
                _replies.None(request.Cookie);
            else
                _replies.Simple(request.Cookie, 0);
            return;
        }

        var before = _replies.Length;
        ReadReply.Header(_replies, request, handshake.StructuredReplies);
        if (_volume.TryReadNoWait((long)request.Offset, _replies.Take((int)request.Length)))
            return;
        // The disk must be waited for: somebody else does, and those behind this read go on.
        _replies.Untake(_replies.Length - before);
        sender.ReadLater(_volume, request, handshake.StructuredReplies);
    }

    private void BlockStatus(in NbdRequest request)
    {
        var before = _replies.Length;
        var one = (request.Flags & NbdCommandFlags.RequestOne) != NbdCommandFlags.None;
        for (var i = 0; i < handshake.Contexts.Count; i++)
        {
            var (id, context) = handshake.Contexts[i];
            _extents.Clear();
            if (!context.TryDescribe((long)request.Offset, request.Length, one ? 1 : NbdLimits.ExtentsMax, _extents))
            {
                _replies.Untake(_replies.Length - before);
                Error(request.Cookie, NbdErrno.Invalid, $"context {context.Name} is not there any more");
                return;
            }

            _replies.BlockStatus(request.Cookie, id, _extents, last: i == handshake.Contexts.Count - 1);
        }
    }

    private void Error(ulong cookie, int errno, string text) =>
        ReadReply.Error(_replies, cookie, errno, text, handshake.StructuredReplies);
}
