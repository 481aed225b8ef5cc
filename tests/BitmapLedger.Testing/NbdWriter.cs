using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace BitmapLedger.Testing;

/// <summary>An NBD client of our own that writes, zeroes and discards, one request after the other, in microseconds.</summary>
public sealed class NbdWriter : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <summary>Connects with the oldest form of the handshake.</summary>
    public NbdWriter(string socket, string export)
    {
        _socket.Connect(new UnixDomainSocketEndPoint(socket));
        Receive(18);
        var name = Encoding.UTF8.GetBytes(export);
        var option = new byte[20 + name.Length];
        BinaryPrimitives.WriteUInt32BigEndian(option, 3);
        "IHAVEOPT"u8.CopyTo(option.AsSpan(4));
        BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), 1);
        BinaryPrimitives.WriteInt32BigEndian(option.AsSpan(16), name.Length);
        name.CopyTo(option.AsSpan(20));
        _socket.Send(option);
        Size = BinaryPrimitives.ReadInt64BigEndian(Receive(10));
    }

    /// <summary>Size of the export in bytes when it was opened.</summary>
    public long Size { get; }

    /// <summary>Writes.</summary>
    /// <returns>The protocol's error, 0 for none.</returns>
    public uint Write(long offset, int length, byte value) => Request(1, offset, length, [.. Enumerable.Repeat(value, length)]);

    /// <summary>Writes zeroes.</summary>
    public uint Zero(long offset, int length) => Request(6, offset, length, []);

    /// <summary>Discards.</summary>
    public uint Discard(long offset, int length) => Request(4, offset, length, []);

    /// <summary>Asks for data and takes none of it.</summary>
    public void AskWithoutReading(int reads, int length)
    {
        for (var i = 0; i < reads; i++)
            Send(0, 0, length, []);
    }

    public void Dispose() => _socket.Dispose();

    private uint Request(ushort type, long offset, int length, byte[] payload)
    {
        Send(type, offset, length, payload);
        return BinaryPrimitives.ReadUInt32BigEndian(Receive(16).AsSpan(4));
    }

    private void Send(ushort type, long offset, int length, byte[] payload)
    {
        var request = new byte[28 + payload.Length];
        BinaryPrimitives.WriteUInt32BigEndian(request, 0x2560_9513);
        BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), type);
        BinaryPrimitives.WriteInt64BigEndian(request.AsSpan(16), offset);
        BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(24), length);
        payload.CopyTo(request, 28);
        for (var sent = 0; sent < request.Length;)
            sent += _socket.Send(request, sent, request.Length - sent, SocketFlags.None);
    }

    private byte[] Receive(int bytes)
    {
        var buffer = new byte[bytes];
        for (var got = 0; got < bytes;)
        {
            var count = _socket.Receive(buffer, got, bytes - got, SocketFlags.None);
            got += count > 0 ? count : throw new EndOfStreamException("The NBD server went away.");
        }

        return buffer;
    }
}
