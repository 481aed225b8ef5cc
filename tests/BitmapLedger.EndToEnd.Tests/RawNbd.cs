using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>An NBD client that says whatever a test wants said, right or wrong.</summary>
internal sealed class RawNbd : IDisposable
{
    public const ushort Read = 0;
    public const ushort Write = 1;

    /// <summary>A reply that never comes fails the test instead of hanging it.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromMinutes(2);

    private const int GreetingBytes = 18;
    private const uint OptionReplyBytes = 20;
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    public RawNbd(string path)
    {
        _socket.ReceiveTimeout = _socket.SendTimeout = (int)_patience.TotalMilliseconds;
        _socket.Connect(new UnixDomainSocketEndPoint(path));
    }

    /// <summary>Reads the greeting and answers it with flags.</summary>
    public void Greet(uint flags)
    {
        Receive(GreetingBytes);
        Send(BigEndian(flags));
    }

    /// <summary>The whole handshake, up to the first request.</summary>
    public void Go(string export)
    {
        Greet(3);
        var name = Encoding.UTF8.GetBytes(export);
        Send(Option(7, [.. BigEndian((uint)name.Length), .. name, 0, 0]));
        while (true)
        {
            var header = Receive((int)OptionReplyBytes);
            Receive((int)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(16)));
            var type = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12));
            if (type == 1)
                return;
            if (type >= 1u << 31)
                throw new InvalidOperationException($"GO was refused with {type:x}");
        }
    }

    public static byte[] Option(uint option, byte[] data) =>
        [.. "IHAVEOPT"u8, .. BigEndian(option), .. BigEndian((uint)data.Length), .. data];

    public static byte[] Request(ushort flags, ushort command, ulong cookie, ulong offset, uint length)
    {
        var bytes = new byte[28];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, 0x25609513);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(6), command);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), cookie);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(16), offset);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(24), length);
        return bytes;
    }

    /// <summary>A simple reply: its cookie and errno.</summary>
    public (ulong Cookie, uint Errno) Reply()
    {
        var header = Receive(16);
        Assert.Equal(0x67446698u, BinaryPrimitives.ReadUInt32BigEndian(header));
        return (BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(8)), BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(4)));
    }

    public byte[] Receive(int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
        {
            var received = _socket.Receive(bytes.AsSpan(done));
            done += received > 0 ? received : throw new EndOfStreamException($"the server closed after {done} of {count} bytes");
        }

        return bytes;
    }

    public void Send(byte[] bytes)
    {
        for (var done = 0; done < bytes.Length;)
            done += _socket.Send(bytes.AsSpan(done));
    }

    /// <summary>Sends what there is and takes what comes until the other end has had enough.</summary>
    public void SendAndDrain(byte[] bytes)
    {
        var started = Stopwatch.GetTimestamp();
        try
        {
            Send(bytes);
            _socket.Shutdown(SocketShutdown.Send);
            while (_socket.Receive(new byte[65_536]) > 0)
            {
            }
        }
        catch (SocketException gone) when (
            gone.SocketErrorCode is not SocketError.TimedOut || Stopwatch.GetElapsedTime(started) < _patience / 2)
        {
            // It may close on what it does not understand; a send that is under way then may end at once as if its time were up.
        }
    }

    public void Dispose() => _socket.Dispose();

    private static byte[] BigEndian(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }
}
