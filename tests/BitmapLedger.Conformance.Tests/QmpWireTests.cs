using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Commands;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>The same bytes to qemu-storage-daemon and to our server come back as the same bytes.</summary>
public sealed class QmpWireTests
{
    /// <summary>Streams that are compared; <c>BITMAPLEDGER_WIRE_STREAMS</c> wants more.</summary>
    private static readonly int _streams =
        int.TryParse(Environment.GetEnvironmentVariable("BITMAPLEDGER_WIRE_STREAMS"), out var wanted) ? wanted : 300;

    private static readonly string[] _pieces =
    [
        "{", "}", "[", "]", ":", ",", " ", "\t", "\r\n", "\"", "'", "\\", "%d", "%", "\u0001", "\u007f", "é", "😀", "\uffff", "nul", "null", "true",
        "0", "01", "-", "-0", "1.5", "1.", "1e5", "1E+", "123456789012345678901234567890", "-9223372036854775808", "9223372036854775808",
        "18446744073709551616", "1e999", "-0.0", "0.1", "1e-7", "5e-324", "123456789.125", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"",
        "\"\\u12\"", "\"\\q\"", "'it\\'s \"so\"'", "\"\\/\\b\\f\\n\\r\\t\"", "\"id\"", "\"a\"", "\"execute\"", "\"arguments\"", "\"control\"",
        "{\"execute\":\"query-version\"}", "{\"execute\":\"nope\",\"id\":7}", "{\"execute\":5}", "{'execute':'query-version','id':{'b':1,'a':[{}]}}",
        "{\"execute\":\"query-version\",\"arguments\":[]}", "{\"execute\":\"query-version\",\"arguments\":{\"x\":1}}", "{\"id\":1}", "{\"a\":1,}",
        "{\"a\":1,\"a\":2}", "{\"a\" 1}", "{1:2}", "[1 2]", "[1,]", "{\"exec-oob\":\"query-version\",\"id\":1}", "{\"execute\":\"qmp_capabilities\"}",
        "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"x\"]}}",
        "{\"execute\":\"query-version\",\"exec-oob\":\"query-version\"}",
    ];

    private static readonly string[] _values =
    [
        "null", "true", "5", "-1", "4294967296", "512", "1.5", "\"x\"", "\"\"", "[]", "{}", "[5]", "[null]", "[\"x\",{\"node\":\"n\"}]",
        "[{\"node\":\"n\",\"name\":\"m\",\"q\":0}]", "[{\"type\":\"abort\"}]", "[{\"type\":\"bogus\",\"data\":{}}]", "[{\"data\":{}}]",
        "[{\"type\":\"block-dirty-bitmap-add\",\"data\":{\"node\":\"nope\"}}]",
        "[{\"type\":\"block-dirty-bitmap-merge\",\"data\":{\"node\":\"x\",\"target\":\"y\",\"bitmaps\":[[]]}}]",
        "[{\"type\":\"abort\",\"data\":{}},{\"type\":\"block-dirty-bitmap-clear\",\"data\":{\"node\":1,\"name\":2}}]",
        "{\"completion-mode\":\"x\"}", "{\"completion-mode\":\"grouped\"}", "{\"completion-mode\":1}",
    ];

    private static readonly string[] _arguments =
        ["node", "name", "granularity", "persistent", "disabled", "target", "bitmaps", "actions", "properties", "z"];

    private static readonly string[] _commands =
    [
        "block-dirty-bitmap-add", "block-dirty-bitmap-clear", "block-dirty-bitmap-merge", "x-debug-block-dirty-bitmap-sha256", "transaction",
    ];

    [Fact]
    public async Task Any_stream_of_bytes_is_answered_as_qemu_answers_it()
    {
        using var scratch = new ScratchDirectory();
        using var qemu = new QemuStorageDaemon(scratch["qemu"], 1 << 20);
        using var sockets = new ListeningQmp(scratch["ours.sock"], qemu.Greeting);
        var seed = Environment.TickCount;
        var random = new Random(seed);
        for (var i = 0; i < _streams; i++)
        {
            var stream = Stream(random);
            var cuts = random.Next(1, 6);
            var theirs = await AnswersAsync(qemu.SecondSocket, stream, cuts, $"end {i}");
            var ours = await AnswersAsync(scratch["ours.sock"], stream, cuts, $"end {i}");
            if (Ordered(theirs) != Ordered(ours))
                Assert.Fail($"seed {seed}, stream {i}: {Encoding.UTF8.GetString(stream)}\nQEMU:\n{theirs}\nwe:\n{ours}");
        }
    }

    [Theory]
    [InlineData(1025)]
    [InlineData(1024)]
    public async Task Nesting_is_allowed_as_deep_as_in_qemu(int depth)
    {
        using var scratch = new ScratchDirectory();
        using var qemu = new QemuStorageDaemon(scratch["qemu"], 1 << 20);
        using var sockets = new ListeningQmp(scratch["ours.sock"], qemu.Greeting);
        var stream = Encoding.ASCII.GetBytes($"{{\"execute\":\"query-version\",\"id\":{new string('[', depth - 1)}{new string(']', depth - 1)}}}");

        var theirs = await AnswersAsync(qemu.SecondSocket, stream, 1, "end");

        Assert.Equal(theirs, await AnswersAsync(scratch["ours.sock"], stream, 1, "end"));
    }

    /// <summary>What is answered out of band may overtake the rest, on either side.</summary>
    private static string Ordered(string answers) => answers.Contains("support OOB", StringComparison.Ordinal)
        ? string.Join('\n', answers.Split('\n').Order(StringComparer.Ordinal))
        : answers;

    private static byte[] Stream(Random random)
    {
        var text = new StringBuilder();
        // Most streams negotiate first: what comes before is soon all seen.
        var oob = random.Next(3) == 0;
        if (random.Next(8) > 0)
            text.Append("{\"execute\":\"qmp_capabilities\"").Append(oob ? ",\"arguments\":{\"enable\":[\"oob\"]}}" : "}");
        // With oob QEMU 7.2 may fall silent for ever once eight requests wait.
        for (var i = random.Next(1, oob ? 3 : 12); i > 0; i--)
        {
            if (oob)
                text.Append(random.Next(2) == 0 ? Command(random) : Command(random).Replace("execute", "exec-oob", StringComparison.Ordinal));
            else if (random.Next(3) == 0)
                text.Append(Command(random));
            else
                text.Append(_pieces[random.Next(_pieces.Length)]);
        }

        var bytes = Encoding.UTF8.GetBytes(text.ToString());
        if (!oob && random.Next(3) == 0 && bytes.Length > 0)
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        return bytes;
    }

    /// <summary>Never with two arguments that do not belong: which one QEMU names hangs on a hash table of GLib's.</summary>
    private static string Command(Random random)
    {
        var command = _commands[random.Next(_commands.Length)];
        var arguments = _arguments.OrderBy(_ => random.Next()).Take(random.Next(5)).Where((a, i) => i == 0 || Belongs(command, a)).ToArray();
        return $"{{\"execute\":\"{command}\",\"arguments\":{{"
            + string.Join(',', arguments.Select(a => $"\"{a}\":{Value(random, a)}")) + $"}},\"id\":{random.Next(9)}}}";
    }

    /// <summary>A node's name is never one that QEMU has: nothing is to be carried out.</summary>
    private static string Value(Random random, string argument) =>
        argument is "node" or "name" or "target" && random.Next(4) > 0 ? "\"x\"" : _values[random.Next(_values.Length)];

    private static bool Belongs(string command, string argument) => command switch
    {
        "block-dirty-bitmap-add" => argument is "node" or "name" or "granularity" or "persistent" or "disabled",
        "block-dirty-bitmap-merge" => argument is "node" or "target" or "bitmaps",
        "transaction" => argument is "actions" or "properties",
        _ => argument is "node" or "name",
    };

    /// <summary>Everything that comes back, up to the answer to a last command that any state of the parser lets through.</summary>
    private static async Task<string> AnswersAsync(string path, byte[] stream, int cuts, string last)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        while (true)
        {
            try
            {
                return await TryAnswersAsync(path, stream, cuts, last, limit.Token);
            }
            catch (OperationCanceledException late)
            {
                throw new TimeoutException($"{path} says no more to {Encoding.UTF8.GetString(stream)}", late);
            }
            catch (SocketException busy) when (busy.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionRefused)
            {
                // QEMU's monitor serves one client at a time, and hangs up on the next one while it lets the last one go.
                if (limit.IsCancellationRequested)
                    throw new TimeoutException($"{path} hangs up on {Encoding.UTF8.GetString(stream)}", busy);
                await Task.Delay(5, CancellationToken.None);
            }
        }
    }

    private static async Task<string> TryAnswersAsync(string path, byte[] stream, int cuts, string last, CancellationToken limit)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), limit);
        var sent = stream.Concat(Encoding.ASCII.GetBytes($"{{\"execute\":\"qmp_capabilities\"}}\n{{\"execute\":\"query-version\",\"id\":\"{last}\"}}")
            .Prepend((byte)'\n').Prepend((byte)0xFF)).ToArray();
        for (var i = 0; i < cuts; i++)
            await socket.SendAsync(sent.AsMemory(sent.Length * i / cuts, (sent.Length * (i + 1) / cuts) - (sent.Length * i / cuts)), limit);

        var received = new StringBuilder();
        var buffer = new byte[64 << 10];
        while (!received.ToString().EndsWith($"\"id\": \"{last}\"}}\r\n", StringComparison.Ordinal))
        {
            var count = await socket.ReceiveAsync(buffer, limit);
            if (count == 0)
                throw new EndOfStreamException($"{path} hung up on {Encoding.UTF8.GetString(stream)} after {received}");
            received.Append(Encoding.UTF8.GetString(buffer, 0, count));
        }

        return received.ToString();
    }

    /// <summary>Our server with QEMU's commands, on no node at all.</summary>
    private sealed class ListeningQmp : IDisposable
    {
        private readonly CancellationTokenSource _ending = new();
        private readonly Task _serving;

        public ListeningQmp(string path, JsonObject greeting)
        {
            var version = greeting["version"]!;
            var server = new QmpServer(
                [
                    new("block-dirty-bitmap-add", QemuSchema.BitmapAdd, (r, _) => Add(r.Arguments)),
                    new("block-dirty-bitmap-clear", QemuSchema.Bitmap, (r, _) => NoNode(r.Arguments.Text("node"))),
                    new("block-dirty-bitmap-merge", QemuSchema.BitmapMerge, (r, _) => NoNode(r.Arguments.Text("node"))),
                    new("x-debug-block-dirty-bitmap-sha256", QemuSchema.Bitmap, (r, _) => NoNode(r.Arguments.Text("node"))),
                    new("transaction", Transaction(), (r, _) => Act(r.Arguments)),
                ],
                new()
                {
                    Version = (7, 2, (int)version["qemu"]!["micro"]!.GetValue<long>()),
                    Package = version["package"]!.GetValue<string>(),
                });
            var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            listener.Bind(new UnixDomainSocketEndPoint(path));
            listener.Listen();
            _serving = server.AcceptAsync(listener, _ending.Token);
        }

        public void Dispose()
        {
            _ending.Cancel();
            _serving.GetAwaiter().GetResult();
            _ending.Dispose();
        }

        private static IReadOnlyList<Member> Transaction() => QemuSchema.Transaction(new Dictionary<string, IReadOnlyList<Member>>
        {
            ["abort"] = [],
            ["block-dirty-bitmap-add"] = QemuSchema.BitmapAdd,
            ["block-dirty-bitmap-clear"] = QemuSchema.Bitmap,
            ["block-dirty-bitmap-merge"] = QemuSchema.BitmapMerge,
        });

        private static Task<JsonNode?> Add(Arguments arguments)
        {
            if (arguments.Text("name").Length == 0)
                throw new QmpException("Bitmap name cannot be empty");
            var node = arguments.Text("node");
            throw new QmpException($"Cannot find device='{node}' nor node-name='{node}'");
        }

        private static Task<JsonNode?> NoNode(string node) => throw new QmpException($"Node '{node}' not found");

        private static Task<JsonNode?> Act(Arguments arguments)
        {
            var first = arguments.NestedList("actions").FirstOrDefault();
            if (first is null)
                return Task.FromResult<JsonNode?>(null);
            var type = first.Text("type");
            if (type != "abort" && arguments.OptionalNested("properties")?.OptionalText("completion-mode") == "grouped")
                throw new QmpException($"Action '{type}' does not support Transaction property completion-mode = grouped");
            return type switch
            {
                "abort" => throw new QmpException("Transaction aborted using Abort action"),
                "block-dirty-bitmap-add" => Add(first.Nested("data")),
                _ => NoNode(first.Nested("data").Text("node")),
            };
        }
    }
}
