using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace BitmapLedger.Testing;

/// <summary>
/// A client of our own that is faster than a real one: it sends TRIMs of one sector, thousands under way, so that a
/// journal fills up within seconds. What it is told is counted, nothing else.
/// </summary>
public sealed class NbdFlood : IDisposable
{
    private const int RequestBytes = 28;
    private const int ReplyBytes = 16;
    private const int Batch = 512;
    private const uint NoSpace = 28;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly byte[] _requests = new byte[Batch * RequestBytes];
    private readonly byte[] _replies = new byte[Batch * ReplyBytes];
    private readonly long _sectors;
    private long _sent;
    private long _acknowledged;
    private long _noSpace;

    /// <summary>Connects with the oldest form of the handshake, the one that takes no answer.</summary>
    public NbdFlood(string socket, string export, long size)
    {
        _sectors = size / 512;
        _socket.Connect(new UnixDomainSocketEndPoint(socket));
        Receive(18);
        var name = Encoding.UTF8.GetBytes(export);
        var option = new byte[4 + 16 + name.Length];
        BinaryPrimitives.WriteUInt32BigEndian(option, 3);
        "IHAVEOPT"u8.CopyTo(option.AsSpan(4));
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), 1);
        BinaryPrimitives.WriteInt32BigEndian(option.AsSpan(16), name.Length);
        name.CopyTo(option.AsSpan(20));
        _socket.Send(option);
        Receive(10);
    }

    /// <summary>Writes that were acknowledged.</summary>
    public long Acknowledged => Volatile.Read(ref _acknowledged);

    /// <summary>Writes that were refused for want of space.</summary>
    public long NoSpaces => Volatile.Read(ref _noSpace);

    /// <summary>Sends batch after batch, each once the one before it is answered, until told to end, or until
    /// <paramref name="enough"/> holds.</summary>
    public Task RunAsync(Func<NbdFlood, bool> enough, CancellationToken cancellation) => Task.Factory.StartNew(
        () =>
        {
            while (!cancellation.IsCancellationRequested && !enough(this))
                RoundTrip();
        },
        CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    public void Dispose() => _socket.Dispose();

    private void RoundTrip()
    {
        for (var i = 0; i < Batch; i++, _sent++)
        {
            var request = _requests.AsSpan(i * RequestBytes, RequestBytes);
            BinaryPrimitives.WriteUInt32BigEndian(request, 0x2560_9513);
            BinaryPrimitives.WriteUInt32BigEndian(request[4..], 4);
            BinaryPrimitives.WriteInt64BigEndian(request[8..], _sent);
            BinaryPrimitives.WriteInt64BigEndian(request[16..], _sent % _sectors * 512);
            BinaryPrimitives.WriteUInt32BigEndian(request[24..], 512);
        }

        _socket.Send(_requests);
        Receive(_replies.Length);
        for (var at = 4; at < _replies.Length; at += ReplyBytes)
        {
            var error = BinaryPrimitives.ReadUInt32BigEndian(_replies.AsSpan(at));
            if (error == 0)
                Interlocked.Increment(ref _acknowledged);
            else if (error == NoSpace)
                Interlocked.Increment(ref _noSpace);
            else
                throw new InvalidDataException($"A write was answered with error {error}.");
        }
    }

    private void Receive(int bytes)
    {
        for (var got = 0; got < bytes;)
        {
            var count = _socket.Receive(_replies, got, bytes - got, SocketFlags.None);
            got += count > 0 ? count : throw new EndOfStreamException("The server went away.");
        }
    }
}
