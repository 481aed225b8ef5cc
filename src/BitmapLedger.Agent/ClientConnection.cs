using System.Net.Sockets;
using BitmapLedger.Nbd;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.Agent;

/// <summary>
/// One client on one thread: the handshake, then requests. It receives as much as there is, handles every complete
/// request,
/// and sends the replies in one go; writes that follow each other become one batch.
/// </summary>
internal sealed class ClientConnection(Socket socket, IExportSource offered, LedgerContexts contexts, AgentLog log)
{
    private const int ReceiveBytes = 256 << 10;
    private byte[] _received = GC.AllocateUninitializedArray<byte>(ReceiveBytes, pinned: true);
    private int _start;
    private int _end;
    private volatile ITrackedExport? _export;

    /// <summary>What it may choose from.</summary>
    public IExportSource Offered => offered;

    /// <summary>What it chose; null during the handshake.</summary>
    public ITrackedExport? Export => _export;

    public void Run()
    {
        if (socket.AddressFamily != AddressFamily.Unix)
            socket.NoDelay = true;
        var peer = Peer.Name(socket);
        var replies = new ReplyBuffer(ReceiveBytes);
        using var handshake = new Handshake(offered, contexts.For(peer));
        if (!Greet(handshake, replies))
            return;

        var export = (ITrackedExport)handshake.Export!;
        _export = export;
        // One that ends from now on ends this connection; one that ended before did not know of it.
        if (export.HasEnded)
            return;
        var volume = export.Volume;
        if (volume.Connect(peer) is not { } writer)
        {
            log.Line($"{peer} was turned away: volume '{volume.Spec.Name}' has {Gate.WritersMax} clients");
            return;
        }

        using var sender = new ReplySender(socket, replies);
        var flushes = new LateFlushes(volume, sender, handshake.StructuredReplies);
        try
        {
            sender.Send();
            Serve(new(export, writer, handshake, sender, flushes));
        }
        finally
        {
            sender.FinishReads();
            flushes.Finish();
            volume.Disconnect(writer);
        }
    }

    /// <summary>What was received is still handled and answered.</summary>
    public void StopReceiving()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Receive);
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // It ended by itself.
        }
    }

    public void Abort() => socket.Dispose();

    private bool Greet(Handshake handshake, ReplyBuffer replies)
    {
        Handshake.Greet(replies);
        while (true)
        {
            socket.Send(replies.Written);
            replies.Clear();
            if (!Receive(NbdLimits.OptionBytesRead + 64))
                return false;
            var state = handshake.Advance(_received.AsSpan(_start, _end - _start), out var consumed, replies);
            _start += consumed;
            if (state == HandshakeState.Talking)
                continue;
            if (state == HandshakeState.Close)
                socket.Send(replies.Written);
            return state == HandshakeState.Transmission;
        }
    }

    private void Serve(RequestHandler handler)
    {
        while (true)
        {
            var wanted = NbdRequest.Size;
            while (_end - _start >= NbdRequest.Size)
            {
                var buffered = _received.AsSpan(0, _end);
                if (!NbdRequest.TryRead(
                    buffered[_start..], out var request) || request.PayloadBytes > NbdLimits.PayloadBytesMax)
                {
                    // Where the next request begins is not known any more, as in QEMU.
                    handler.Finish(buffered);
                    handler.RefuseStream(request);
                    return;
                }

                wanted = NbdRequest.Size + (int)request.PayloadBytes;
                if (_end - _start < wanted)
                    break;
                if (request.Command == NbdCommand.Disconnect)
                {
                    handler.Finish(buffered);
                    return;
                }

                handler.Handle(request, _start + NbdRequest.Size, buffered);
                _start += wanted;
                wanted = NbdRequest.Size;
            }

            handler.Finish(_received.AsSpan(0, _end));
            if (!Receive(wanted))
                return;
        }
    }

    /// <summary>Receives more; false at the end of the stream. Room is made for a request of
    /// <paramref name="wanted"/> bytes.</summary>
    private bool Receive(int wanted)
    {
        var left = _end - _start;
        if (_received.Length < wanted)
        {
            var grown = GC.AllocateUninitializedArray<byte>(wanted + ReceiveBytes, pinned: true);
            _received.AsSpan(_start, left).CopyTo(grown);
            _received = grown;
        }
        else if (_start > 0)
        {
            _received.AsSpan(_start, left).CopyTo(_received);
        }

        (_start, _end) = (0, left);
        var count = socket.Receive(_received.AsSpan(_end));
        _end += count;
        return count > 0;
    }
}
