using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;

namespace BitmapLedger.Testing;

/// <summary>QMP as lines of text, for whoever compares bytes. Any server; one thread.</summary>
public sealed class QmpLines : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly StreamReader _received;

    /// <summary>Connects and negotiates.</summary>
    public QmpLines(string path)
    {
        _socket.Connect(new UnixDomainSocketEndPoint(path));
        _received = new(new NetworkStream(_socket));
        _ = Line();
        _ = Ask("""{"execute":"qmp_capabilities"}""");
    }

    /// <summary>Events that came in between, oldest first.</summary>
    public List<JsonObject> Events { get; } = [];

    /// <summary>Sends requests in one go and returns their replies, in order.</summary>
    public string[] Ask(params IReadOnlyList<string> requests)
    {
        Send(requests);
        return Receive(requests.Count);
    }

    /// <summary>Sends requests in one go; their replies are yet to be received.</summary>
    public void Send(IReadOnlyList<string> requests)
    {
        var bytes = Encoding.UTF8.GetBytes(string.Join('\n', requests) + "\n");
        for (var sent = 0; sent < bytes.Length;)
            sent += _socket.Send(bytes.AsSpan(sent));
    }

    /// <summary>Receives that many replies, in order.</summary>
    public string[] Receive(int count) => [.. Enumerable.Range(0, count).Select(_ => Line())];

    /// <summary>What a command returns.</summary>
    public JsonNode? Execute(string request)
    {
        var reply = JsonNode.Parse(Ask(request)[0])!.AsObject();
        return reply.TryGetPropertyValue("return", out var value)
            ? value
            : throw new InvalidOperationException($"{request}: {reply.ToJsonString()}");
    }

    /// <summary>Returns once an event of that name has come; it is forgotten then.</summary>
    public JsonObject Await(string name)
    {
        while (true)
        {
            if (Events.Find(e => (string?)e["event"] == name) is { } happened)
            {
                Events.Remove(happened);
                return happened;
            }

            Events.Add(JsonNode.Parse(Raw())!.AsObject());
        }
    }

    public void Dispose()
    {
        _received.Dispose();
        _socket.Dispose();
    }

    private string Line()
    {
        while (true)
        {
            var line = Raw();
            if (!line.Contains("\"event\": ", StringComparison.Ordinal) || JsonNode.Parse(line)!["event"] is null)
                return line;
            Events.Add(JsonNode.Parse(line)!.AsObject());
        }
    }

    private string Raw() => _received.ReadLine() ?? throw new EndOfStreamException("The QMP server went away.");
}
