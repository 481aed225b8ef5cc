using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary>
/// One link to a Server. A thread of its own receives; whoever has a question sends it from his own thread. Frames are bounded
/// before they are read.
/// </summary>
internal sealed class ControlLink : IDisposable
{
    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly Lock _sending = new();
    private readonly Lock _lock = new();
    private readonly Dictionary<long, LedgerQuestion> _open = [];
    private readonly BitsFiles _bits;
    private long _lastId;
    private bool _isClosed;

    /// <param name="socket">Connected; taken over.</param>
    /// <param name="bits">Where answers lie that came too late.</param>
    public ControlLink(Socket socket, BitsFiles bits)
    {
        _socket = socket;
        _stream = new(socket, ownsSocket: true);
        _bits = bits;
    }

    /// <summary>Whether the other end answers questions.</summary>
    public bool Answers { get; set; }

    /// <summary>The next request; answers are given to who waits for them. Null at the end of the link.</summary>
    public ControlFrame? NextRequest()
    {
        while (ReadFrame() is { } frame)
        {
            if (frame.Request is not null)
                return frame;
            TakeAnswer(frame.Id, frame.Reply!);
        }

        return null;
    }

    /// <summary>Sends a frame, however long that takes.</summary>
    public void Send(ControlFrame frame)
    {
        var bytes = frame.Encode();
        lock (_sending)
            _stream.Write(bytes);
    }

    /// <summary>Asks; null when the other end reads nothing for so long.</summary>
    public LedgerQuestion? TryAsk(ControlRequest question, TimeSpan limit)
    {
        var asked = new LedgerQuestion();
        var id = Interlocked.Increment(ref _lastId);
        var bytes = new ControlFrame(id, question, Reply: null).Encode();
        if (!_sending.TryEnter(limit))
            return null;
        try
        {
            // Writable means that most of the buffer is free: a question, which is short, goes out whole and at once.
            if (!_socket.Poll(limit, SelectMode.SelectWrite))
                return null;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_isClosed, this);
                _open[id] = asked;
            }

            _stream.Write(bytes);
            return asked;
        }
        finally
        {
            _sending.Exit();
        }
    }

    /// <summary>Ends the link; questions that are open are answered that nobody will.</summary>
    public void Dispose()
    {
        LedgerQuestion[] open;
        lock (_lock)
        {
            _isClosed = true;
            open = [.. _open.Values];
            _open.Clear();
        }

        _stream.Dispose();
        foreach (var question in open)
            question.TryAnswer(new Failed("busy", "the server went away"));
    }

    private void TakeAnswer(long id, ControlReply reply)
    {
        LedgerQuestion? asked;
        lock (_lock)
            _open.Remove(id, out asked);
        if (asked?.TryAnswer(reply) != true && reply is BitsFile { File: var file })
            _bits.Drop(file);
    }

    private ControlFrame? ReadFrame()
    {
        Span<byte> prefix = stackalloc byte[4];
        if (_stream.ReadAtLeast(prefix, 4, throwOnEndOfStream: false) < 4)
            return null;
        var length = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
        if (length > ControlFrame.BytesMax)
            throw new InvalidDataException($"a frame of {length} bytes, more than {ControlFrame.BytesMax}");
        var bytes = new byte[length];
        _stream.ReadExactly(bytes);
        return JsonSerializer.Deserialize(bytes, ControlJson.Default.ControlFrame) is { } frame
            && (frame.Request is null) != (frame.Reply is null)
            ? frame
            : throw new InvalidDataException("a frame that is neither a request nor a reply");
    }
}
