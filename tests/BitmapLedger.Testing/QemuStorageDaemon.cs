using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;

namespace BitmapLedger.Testing;

/// <summary>The peer: a real qemu-storage-daemon with one raw node <c>n0</c>, driven over QMP.</summary>
public sealed class QemuStorageDaemon : IDisposable
{
    private readonly string _directory;
    private readonly Process _process;
    private readonly Socket _socket;
    private readonly StreamReader _replies;
    private readonly StreamWriter _requests;

    public QemuStorageDaemon(string directory, long size)
    {
        _directory = Directory.CreateDirectory(directory).FullName;
        var image = Path.Combine(_directory, "n0.img");
        using (var file = File.Create(image))
            file.SetLength(size);
        _process = Tool.Start("qemu-storage-daemon",
        [
            "--chardev", $"socket,path={QmpSocket},server=on,wait=off,id=c0", "--monitor", "chardev=c0",
            "--blockdev", $"driver=file,filename={image},node-name=f0,discard=unmap",
            "--blockdev", "driver=raw,file=f0,node-name=n0,discard=unmap",
        ]);
        _socket = Connect();
        var stream = new NetworkStream(_socket);
        _replies = new(stream);
        _requests = new(stream) { AutoFlush = true };
        _ = _replies.ReadLine();
        Execute("qmp_capabilities");
    }

    private string QmpSocket => Path.Combine(_directory, "qmp.sock");

    private string NbdSocket => Path.Combine(_directory, "nbd.sock");

    public int ProcessId => _process.Id;

    public string Uri(string export) => $"nbd+unix:///{export}?socket={NbdSocket}";

    /// <summary>Offers <paramref name="node"/> with <paramref name="bitmap"/> over NBD, writable.</summary>
    public void Export(string node, string bitmap)
    {
        Execute("nbd-server-start", new { addr = new { type = "unix", data = new { path = NbdSocket } } });
        Execute("block-export-add", new Dictionary<string, object>
        {
            ["id"] = "e0",
            ["type"] = "nbd",
            ["node-name"] = node,
            ["writable"] = true,
            ["bitmaps"] = new[] { bitmap },
        });
    }

    public JsonElement Execute(string command, object? arguments = null)
    {
        var reply = Ask(command, arguments);
        return reply.TryGetProperty("return", out var value)
            ? value
            : throw new InvalidOperationException($"{command}: {reply.GetRawText()}");
    }

    /// <summary>The text with which QEMU turns <paramref name="command"/> down.</summary>
    public string Refusal(string command, object arguments) =>
        Ask(command, arguments).GetProperty("error").GetProperty("desc").GetString()!;

    public void Dispose()
    {
        _socket.Dispose();
        _replies.Dispose();
        if (!_process.HasExited)
            _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private JsonElement Ask(string command, object? arguments)
    {
        _requests.WriteLine(arguments is null
            ? JsonSerializer.Serialize(new { execute = command })
            : JsonSerializer.Serialize(new { execute = command, arguments }));
        while (_replies.ReadLine() is { } line)
        {
            using var message = JsonDocument.Parse(line);
            if (!message.RootElement.TryGetProperty("event", out _))
                return message.RootElement.Clone();
        }

        throw new EndOfStreamException($"qemu-storage-daemon went away during {command}.");
    }

    private Socket Connect()
    {
        var started = Stopwatch.StartNew();
        while (true)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(QmpSocket));
                return socket;
            }
            catch (SocketException) when (started.Elapsed < TimeSpan.FromMinutes(1) && !_process.HasExited)
            {
                socket.Dispose();
                _process.WaitForExit(20);
            }
        }
    }
}
