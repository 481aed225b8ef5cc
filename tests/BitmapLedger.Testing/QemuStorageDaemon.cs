using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace BitmapLedger.Testing;

/// <summary>The peer: a real qemu-storage-daemon with one node <c>n0</c>, raw or qcow2, driven over QMP.</summary>
public sealed class QemuStorageDaemon : IDisposable
{
    private readonly string _directory;
    private readonly Process _process;
    private readonly Socket _socket;
    private readonly StreamReader _replies;
    private readonly StreamWriter _requests;

    /// <summary>On a new raw image.</summary>
    public QemuStorageDaemon(string directory, long size)
        : this(directory, NewImage(directory, size), "raw")
    {
    }

    /// <summary>On an image that is there.</summary>
    public QemuStorageDaemon(string directory, string image, string format)
    {
        _directory = Directory.CreateDirectory(directory).FullName;
        _process = Tool.Start("qemu-storage-daemon",
        [
            "--chardev", $"socket,path={QmpSocket},server=on,wait=off,id=c0", "--monitor", "chardev=c0",
            "--chardev", $"socket,path={SecondSocket},server=on,wait=off,id=c1", "--monitor", "chardev=c1",
            "--blockdev", $"driver=file,filename={image},node-name=f0,discard=unmap",
            "--blockdev", $"driver={format},file=f0,node-name=n0,discard=unmap",
        ]);
        _socket = Connect();
        var stream = new NetworkStream(_socket);
        _replies = new(stream);
        _requests = new(stream) { AutoFlush = true };
        Greeting = JsonNode.Parse(_replies.ReadLine()!)!["QMP"]!.AsObject();
        Execute("qmp_capabilities");
    }

    private string QmpSocket => Path.Combine(_directory, "qmp.sock");

    private string NbdSocket => Path.Combine(_directory, "nbd.sock");

    /// <summary>A monitor that nobody uses.</summary>
    public string SecondSocket => Path.Combine(_directory, "qmp1.sock");

    /// <summary>What it said of itself.</summary>
    public JsonObject Greeting { get; }

    public int ProcessId => _process.Id;

    public string Uri(string export) => $"nbd+unix:///{export}?socket={NbdSocket}";

    /// <summary>Offers <paramref name="node"/> over NBD, writable, with <paramref name="bitmaps"/>.</summary>
    public void Export(string node, params IEnumerable<string> bitmaps)
    {
        Execute("nbd-server-start", new { addr = new { type = "unix", data = new { path = NbdSocket } } });
        Execute("block-export-add", new Dictionary<string, object>
        {
            ["id"] = "e0",
            ["type"] = "nbd",
            ["node-name"] = node,
            ["writable"] = true,
            ["bitmaps"] = bitmaps,
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

    /// <summary>Ends it in order: now persistent bitmaps reach their image.</summary>
    public void Quit()
    {
        Execute("quit");
        _process.WaitForExit();
    }

    public void Dispose()
    {
        _socket.Dispose();
        _replies.Dispose();
        if (!_process.HasExited)
            _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static string NewImage(string directory, long size)
    {
        var image = Path.Combine(Directory.CreateDirectory(directory).FullName, "n0.img");
        using var file = File.Create(image);
        file.SetLength(size);
        return image;
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
