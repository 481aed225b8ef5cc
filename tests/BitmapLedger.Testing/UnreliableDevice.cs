using System.Buffers.Binary;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;

namespace BitmapLedger.Testing;

/// <summary>What an <see cref="UnreliableDevice"/> refuses with EIO.</summary>
[Flags]
public enum DeviceFaults
{
    None = 0,
    Reads = 1,
    Writes = 2,
    Flushes = 4,
    All = Reads | Writes | Flushes,
}

/// <summary>
/// A disk that fails and forgets, as an NBD server: what was written is kept through a loss of power only from the next
/// flush on, and until then any sector of it may be there or not. Two files are the disk: what reads show, and what has
/// reached the platter. Linux makes a block device of it through nbdfuse and a loop device.
/// </summary>
public sealed class UnreliableDevice : IDisposable
{
    public const int Sector = 512;
    private const int RequestBytes = 28;
    private const uint RequestMagic = 0x2560_9513;
    private const uint ReplyMagic = 0x6744_6698;
    private const uint InputOutputError = 5;
    private const ushort HasFlagsAndFlush = 0b101;

    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Lock _lock = new();
    private readonly SafeFileHandle _shown;
    private readonly SafeFileHandle _platter;
    private readonly HashSet<long> _unflushed = [];
    private readonly long _size;
    private readonly Thread _accepting;
    private Socket? _client;
    private DeviceFaults _faults;
    private (long First, long End) _unreadable;

    /// <summary>Makes an empty disk and listens.</summary>
    /// <param name="directory">Holds the two files and the socket; made if missing.</param>
    /// <param name="size">Bytes, whole sectors.</param>
    public UnreliableDevice(string directory, long size)
    {
        Directory.CreateDirectory(directory);
        _size = size;
        _shown = Image(Path.Combine(directory, "shown"));
        _platter = Image(Path.Combine(directory, "platter"));
        var socket = Path.Combine(directory, "nbd");
        Uri = $"nbd+unix:///?socket={socket}";
        _listener.Bind(new UnixDomainSocketEndPoint(socket));
        _listener.Listen(4);
        _accepting = new Thread(Accept) { IsBackground = true, Name = "unreliable-device" };
        _accepting.Start();
    }

    /// <summary>What a client connects to, one at a time.</summary>
    public string Uri { get; }

    /// <summary>What is refused from now on.</summary>
    public DeviceFaults Faults
    {
        get
        {
            lock (_lock)
                return _faults;
        }

        set
        {
            lock (_lock)
                _faults = value;
        }
    }

    /// <summary>Bytes from <paramref name="first"/> to before <paramref name="end"/> cannot be read from now on.</summary>
    public void MakeUnreadable(long first, long end)
    {
        lock (_lock)
            _unreadable = (first, end);
    }

    /// <summary>Power is gone and back: the client is dropped, and of each sector that no flush covered there is what was
    /// written last, or what was there at the last flush.</summary>
    /// <param name="random">Decides which.</param>
    public void LosePower(Random random)
    {
        lock (_lock)
        {
            _client?.Dispose();
            var bytes = new byte[Sector];
            foreach (var sector in _unflushed.Order())
            {
                var (from, to) = random.Next(2) == 0 ? (_shown, _platter) : (_platter, _shown);
                _ = RandomAccess.Read(from, bytes, sector * Sector);
                RandomAccess.Write(to, bytes, sector * Sector);
            }

            _unflushed.Clear();
        }
    }

    public void Dispose()
    {
        _listener.Dispose();
        lock (_lock)
            _client?.Dispose();
        _accepting.Join();
        _shown.Dispose();
        _platter.Dispose();
    }

    private SafeFileHandle Image(string path)
    {
        var image = File.OpenHandle(path, FileMode.CreateNew, FileAccess.ReadWrite);
        RandomAccess.SetLength(image, _size);
        return image;
    }

    private void Accept()
    {
        while (true)
        {
            try
            {
                var client = _listener.Accept();
                lock (_lock)
                    _client = client;
                using (client)
                    Serve(client);
            }
            catch (Exception ended) when (ended is SocketException or ObjectDisposedException or EndOfStreamException)
            {
                if (_listener.SafeHandle.IsClosed)
                    return;
            }
        }
    }

    private void Serve(Socket client)
    {
        // The oldest handshake: size and flags, and no questions.
        var greeting = new byte[152];
        "NBDMAGIC"u8.CopyTo(greeting);
        BinaryPrimitives.WriteUInt64BigEndian(greeting.AsSpan(8), 0x0000_4202_8186_1253);
        BinaryPrimitives.WriteInt64BigEndian(greeting.AsSpan(16), _size);
        BinaryPrimitives.WriteUInt16BigEndian(greeting.AsSpan(26), HasFlagsAndFlush);
        Send(client, greeting);
        var request = new byte[RequestBytes];
        while (true)
        {
            Receive(client, request);
            if (BinaryPrimitives.ReadUInt32BigEndian(request) != RequestMagic)
                return;
            var command = BinaryPrimitives.ReadUInt16BigEndian(request.AsSpan(6));
            var offset = BinaryPrimitives.ReadInt64BigEndian(request.AsSpan(16));
            var data = new byte[command <= 1 ? BinaryPrimitives.ReadInt32BigEndian(request.AsSpan(24)) : 0];
            if (command == 1)
                Receive(client, data);
            if (command == 2)
                return;
            var error = Do(command, offset, data);
            var reply = new byte[16 + (command == 0 && error == 0 ? data.Length : 0)];
            BinaryPrimitives.WriteUInt32BigEndian(reply, ReplyMagic);
            BinaryPrimitives.WriteUInt32BigEndian(reply.AsSpan(4), error);
            request.AsSpan(8, 8).CopyTo(reply.AsSpan(8));
            if (reply.Length > 16)
                data.CopyTo(reply, 16);
            Send(client, reply);
        }
    }

    private uint Do(ushort command, long offset, byte[] data)
    {
        lock (_lock)
        {
            switch (command)
            {
                case 0 when _faults.HasFlag(DeviceFaults.Reads) || (offset < _unreadable.End && offset + data.Length > _unreadable.First):
                case 1 when _faults.HasFlag(DeviceFaults.Writes):
                case 3 when _faults.HasFlag(DeviceFaults.Flushes):
                    return InputOutputError;
                case 0:
                    _ = RandomAccess.Read(_shown, data, offset);
                    return 0;
                case 1:
                    RandomAccess.Write(_shown, data, offset);
                    for (var sector = offset / Sector; sector * Sector < offset + data.Length; sector++)
                        _unflushed.Add(sector);
                    return 0;
                case 3:
                    Flush();
                    return 0;
                default:
                    return InputOutputError;
            }
        }
    }

    private void Flush()
    {
        var bytes = new byte[64 * Sector];
        var sectors = _unflushed.Order().ToArray();
        for (int first = 0, end; first < sectors.Length; first = end)
        {
            end = first + 1;
            while (end < sectors.Length && end - first < 64 && sectors[end] == sectors[end - 1] + 1)
                end++;
            var run = bytes.AsSpan(0, (end - first) * Sector);
            _ = RandomAccess.Read(_shown, run, sectors[first] * Sector);
            RandomAccess.Write(_platter, run, sectors[first] * Sector);
        }

        _unflushed.Clear();
    }

    private static void Send(Socket socket, byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
    }

    private static void Receive(Socket socket, byte[] bytes)
    {
        for (var got = 0; got < bytes.Length;)
        {
            var count = socket.Receive(bytes, got, bytes.Length - got, SocketFlags.None);
            got += count > 0 ? count : throw new EndOfStreamException("The client went away.");
        }
    }
}
