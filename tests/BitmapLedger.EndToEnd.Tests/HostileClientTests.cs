using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Whatever is said on a socket, and however slowly: nobody else is hurt, and nothing else changes.</summary>
public sealed class HostileClientTests(ServedVolume served) : IClassFixture<ServedVolume>
{
    private readonly Ledger _ledger = served.Ledger;

    [Theory]
    [InlineData("nbd.sock")]
    [InlineData("api.sock")]
    [InlineData("control.sock")]
    public void Garbage_on_a_socket_hurts_nobody_else(string name)
    {
        var random = new Random(7);
        for (var attempt = 0; attempt < 20; attempt++)
        {
            using var socket = new RawNbd(Path.Combine(_ledger.DataDirectory, "run", name));
            var garbage = new byte[random.Next(1, 100_000)];
            random.NextBytes(garbage);
            try
            {
                socket.SendAndDrain(garbage);
            }
            catch (SocketException waited)
            {
                var agent = _ledger.Pid("agent");
                throw new TimeoutException($"attempt {attempt} waits for its end\n{Posix.Threads(agent)}\n{_ledger.Logs()}", waited);
            }
        }

        IsWell();
    }

    // Method: options that are nearly right. Each is a known or a random number with data that is cut, grown or random.
    [Fact]
    public void Handshakes_of_any_kind_end_or_are_answered()
    {
        const int seed = 20_261_127, connections = 400;
        var random = new Random(seed);
        for (var connection = 0; connection < connections; connection++)
        {
            using var client = new RawNbd(_ledger.NbdSocket);
            client.Greet(random.Next(8) == 0 ? (uint)random.NextInt64(1L << 32) : 3);
            List<byte> said = [];
            for (var option = 0; option < random.Next(1, 8); option++)
                said.AddRange(AlmostAnOption(random));
            client.SendAndDrain([.. said]);
        }

        IsWell();
    }

    // Method: well-framed requests with random commands, flags, offsets and lengths; each is answered once, whatever it is.
    [Fact]
    public async Task Every_request_that_is_framed_is_answered_exactly_once()
    {
        const int seed = 20_261_128, connections = 30, requests = 100;
        var random = new Random(seed);
        for (var connection = 0; connection < connections; connection++)
        {
            using var client = new RawNbd(_ledger.NbdSocket);
            client.Go("v");
            Dictionary<ulong, (ushort Command, uint Length)> open = [];
            List<byte> said = [];
            for (var cookie = 1UL; cookie <= requests; cookie++)
            {
                var command = (ushort)(random.Next(10) == 0 ? random.Next(3, 1 << 16) : random.Next(0, 8));
                // Disconnect is the one request that has no reply.
                command = command == 2 ? RawNbd.Read : command;
                var length = (uint)random.Next(0, random.Next(10) == 0 ? 1 << 18 : 5000);
                var offset = random.Next(8) == 0 ? (ulong)random.NextInt64() : (ulong)random.Next(0, 1 << 20);
                open.Add(cookie, (command, length));
                said.AddRange(RawNbd.Request((ushort)(random.Next(4) == 0 ? random.Next(1 << 16) : 0), command, cookie, offset, length));
                if (command == RawNbd.Write)
                    said.AddRange(new byte[length]);
            }

            var sending = Task.Run(() => client.Send([.. said]));
            while (open.Count > 0)
            {
                var (cookie, errno) = client.Reply();
                Assert.True(open.Remove(cookie, out var request), $"seed {seed}: nobody asked {cookie}");
                if (request.Command == RawNbd.Read && errno == 0)
                    client.Receive((int)request.Length);
            }

            await sending;
        }

        IsWell();
    }

    [Fact]
    public void Clients_that_never_say_what_for_do_not_keep_others_out()
    {
        const int more = 1100;
        List<RawNbd> idle = [];
        try
        {
            for (var i = 0; i < more; i++)
                idle.Add(new(_ledger.NbdSocket));
            IsWell();
        }
        finally
        {
            idle.ForEach(c => c.Dispose());
        }
    }

    [Fact]
    public async Task An_agent_that_had_no_descriptor_left_takes_clients_again_when_it_has_some()
    {
        const int clients = 30, free = 6;
        var (agent, control) = (_ledger.Pid("agent"), Path.Combine(_ledger.DataDirectory, "run", "control.sock"));
        var limit = Tool.Run("prlimit", ["--pid", $"{agent}", "--nofile", "--noheadings", "--raw", "--output", "SOFT,HARD"]).Expect().Output.Trim();
        Limit($"{Directory.GetFiles($"/proc/{agent}/fd").Length + free}:");
        List<RawNbd> idle = [];
        try
        {
            for (var i = 0; i < clients; i++)
                idle.Add(new(i % 2 == 0 ? _ledger.NbdSocket : control));
            await Waiting.UntilAsync(() => AgentLog().Contains("clients have to wait", StringComparison.Ordinal));
        }
        finally
        {
            idle.ForEach(c => c.Dispose());
            Limit(limit.Replace(' ', ':'));
        }

        using (var link = new RawNbd(control))
            link.SendAndDrain([0xff, 0xff, 0xff, 0xff]);
        IsWell();

        void Limit(string softAndHard) => Tool.Run("prlimit", ["--pid", $"{agent}", $"--nofile={softAndHard}"]).Expect();
    }

    [Fact]
    public void Clients_that_stop_in_the_middle_hold_up_nobody()
    {
        using var halfWrite = new RawNbd(_ledger.NbdSocket);
        halfWrite.Go("v");
        halfWrite.Send([.. RawNbd.Request(0, RawNbd.Write, 1, 0, 65_536), .. new byte[1000]]);
        using var neverReads = new RawNbd(_ledger.NbdSocket);
        neverReads.Go("v");
        neverReads.Send([.. Enumerable.Range(1, 200).SelectMany(i => RawNbd.Request(0, RawNbd.Read, (ulong)i, 0, 1 << 20))]);
        using var halfHeader = new RawNbd(Path.Combine(_ledger.DataDirectory, "run", "api.sock"));
        halfHeader.Send("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"u8.ToArray());
        using var halfFrame = new RawNbd(Path.Combine(_ledger.DataDirectory, "run", "control.sock"));
        halfFrame.Send([0xff, 0xff]);

        IsWell();
        _ledger.Json("bitmap", "add", "v", "meanwhile");
        _ledger.Json("bitmap", "remove", "v", "meanwhile");
        halfWrite.Send(new byte[65_536 - 1000]);
        Assert.Equal((1UL, 0U), halfWrite.Reply());
    }

    // It takes the agent its whole patience to give these clients up: longer than a command line may take to be interrupted.
    [Fact]
    public async Task Serve_ends_in_order_however_long_its_clients_keep_it()
    {
        await using var ledger = await Ledger.StartAsync();
        ledger.Json("volume", "create", "v", "--size", "1M");
        using var neverReads = new RawNbd(ledger.NbdSocket);
        neverReads.Go("v");
        neverReads.Send([.. Enumerable.Range(1, 200).SelectMany(i => RawNbd.Request(0, RawNbd.Read, (ulong)i, 0, 1 << 20))]);
        int[] parts = [ledger.Pid("agent"), ledger.Pid("server"), ledger.Pid("postgres")];

        Assert.Equal(0, await ledger.StopAsync());

        Assert.All(parts, pid => Assert.False(Posix.IsAlive(pid)));
    }

    [Theory]
    [InlineData("""{"id":1,"request":{"type":"open-volume"}}""")]
    [InlineData("""{"id":1,"request":{"type":"rotate"}}""")]
    [InlineData("""{"id":1,"request":{"type":"settle","id":"00000000-0000-0000-0000-000000000001","fence":1}}""")]
    [InlineData("""{"id":1,"request":{"type":"no-such-thing"}}""")]
    [InlineData("""{"id":1}""")]
    [InlineData("null")]
    public async Task A_control_link_with_frames_that_lack_something_ends_alone(string frame)
    {
        var agent = _ledger.Pid("agent");
        using (var link = new RawNbd(Path.Combine(_ledger.DataDirectory, "run", "control.sock")))
        {
            link.SendAndDrain([.. Frame("""{"id":0,"request":{"type":"hello","protocol":1}}"""), .. Frame(frame)]);
        }

        // It took the link from the server, which takes it back.
        var started = Stopwatch.StartNew();
        ToolResult verified;
        do
        {
            verified = _ledger.Bml("verify", "v");
            Assert.True(started.Elapsed < TimeSpan.FromMinutes(3), verified.Error);
            await Task.Delay(20);
        }
        while (verified.ExitCode == 11);

        verified.Expect();
        Assert.Equal(agent, _ledger.Pid("agent"));
        Assert.True(Posix.IsAlive(agent));
    }

    [Theory]
    [InlineData("POST", "/v1/volumes", """{"name":"x","sise":1}""", 400, "unknown member 'sise'")]
    [InlineData("POST", "/v1/volumes", """{"name":5,"size":1048576}""", 400, "'name' cannot be a number")]
    [InlineData("POST", "/v1/volumes", """{"name":"x","size":"1X"}""", 400, "'1X' is no size")]
    [InlineData("POST", "/v1/volumes", """{"name":"x","size":1.5}""", 400, "'size' cannot be a number")]
    [InlineData("POST", "/v1/volumes", """{"name":"x","name":"y","size":1}""", 400, "name")]
    [InlineData("POST", "/v1/volumes", """{"name":"x\u0000","size":1048576}""", 400, "zero character")]
    [InlineData("POST", "/v1/volumes", """{"name":"\ud800","size":1048576}""", 400, "no Unicode")]
    [InlineData("POST", "/v1/volumes", """{"name":"x","backend":"file:relative"}""", 400, "relative")]
    [InlineData("POST", "/v1/volumes", "[]", 400, "a list, not an object")]
    [InlineData("POST", "/v1/volumes", "null", 400, "null, not an object")]
    [InlineData("POST", "/v1/volumes", "", 400, "no JSON")]
    [InlineData("POST", "/v1/volumes", "{", 400, "no JSON")]
    [InlineData("POST", "/v1/volumes/v/bitmaps", """{"name":"x","granularity":true}""", 400, "'granularity' cannot be true or false")]
    [InlineData("PATCH", "/v1/volumes/v/bitmaps/b0", "{}", 400, "'recording' is missing")]
    [InlineData("POST", "/v1/checkpoints", """{"name":"x","volumes":"v"}""", 400, "'volumes' cannot be text")]
    [InlineData("POST", "/v1/checkpoints", """{"name":"x","volumes":[]}""", 400, "volume")]
    [InlineData("POST", "/v1/checkpoints", """{"name":"x","volumes":["v",null]}""", 400, "volume")]
    [InlineData("POST", "/v1/verify", "{}", 400, "'volume' is missing")]
    [InlineData("GET", "/v1/volumes/%FF", null, 400, "not UTF-8")]
    [InlineData("GET", "/v1/volumes/..", null, 404, "Volume '..' not found")]
    [InlineData("GET", "/v1/volumes/v/changed?from=start&granularity=abc", null, 400, "'abc' is no granularity")]
    [InlineData("GET", "/v1/volumes/v/changed?from=start&form=now", null, 400, "unknown query parameter 'form'")]
    [InlineData("GET", "/v1/volumes/v/changed", null, 400, "'from' is missing")]
    [InlineData("GET", "/v1/volumes/v/blame?offset=-1", null, 400, "-1")]
    [InlineData("GET", "/v1/volumes/v/blame?offset=9223372036854775807&length=9223372036854775807", null, 400, "offset")]
    [InlineData("GET", "/v1/volumes/v/history?offset=-5", null, 400, "offset")]
    [InlineData("GET", "/v1/nothing", null, 404, "/v1/nothing")]
    [InlineData("PUT", "/v1/volumes", "{}", 405, "does not take PUT")]
    public async Task A_bad_request_names_what_is_wrong_and_changes_nothing(string method, string path, string? body, int status, string said)
    {
        var before = State();

        var (answered, problem) = await SendAsync(method, path, body is null ? null : Encoding.UTF8.GetBytes(body));

        Assert.True(status == answered, $"{answered}: {problem}");
        Assert.Contains(said, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.NotEmpty(problem.GetProperty("code").GetString()!);
        Assert.Equal(before, State());
    }

    [Fact]
    public async Task Bodies_and_names_are_bounded_before_anybody_reads_them()
    {
        var before = State();
        var deep = Encoding.UTF8.GetBytes($$"""{"name":{{new string('[', 100_000)}}""");
        var longName = Encoding.UTF8.GetBytes($$"""{"name":"{{new string('n', 100_000)}}","size":1048576}""");

        Assert.Equal(400, (await SendAsync("POST", "/v1/volumes", deep)).Status);
        // The length it announces is enough: nothing of it is read.
        using var large = new RawNbd(Path.Combine(_ledger.DataDirectory, "run", "api.sock"));
        large.Send("POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"u8.ToArray());
        Assert.Equal("HTTP/1.1 413", Encoding.ASCII.GetString(large.Receive(12)));
        Assert.Equal(400, (await SendAsync("POST", "/v1/volumes", [.. "{\"name\":\""u8, 0xff, 0xfe, .. "\"}"u8])).Status);
        foreach (var path in new[] { "/v1/volumes", "/v1/volumes/v/bitmaps" })
        {
            var (status, problem) = await SendAsync(
                "POST", path, path == "/v1/volumes" ? longName : Encoding.UTF8.GetBytes($$"""{"name":"{{new string('n', 100_000)}}"}"""));
            Assert.Equal(400, status);
            Assert.True(problem.GetRawText().Length < 1000, problem.GetRawText());
        }

        Assert.Equal(before, State());
    }

    [Fact]
    public async Task Http_over_tcp_wants_the_token_for_everything_but_health()
    {
        using var http = new HttpClient { BaseAddress = _ledger.Http };
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/health/live")).StatusCode);
        foreach (var path in new[] { "/v1/volumes", "/nothing", "/health/../v1/volumes", "/health/%2E%2E/v1/volumes", "//v1/volumes" })
        {
            var refused = await http.GetAsync(new Uri(
                _ledger.Http.GetLeftPart(UriPartial.Authority) + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
            Assert.True(refused.StatusCode is HttpStatusCode.Unauthorized or HttpStatusCode.NotFound, $"{path}: {refused.StatusCode}");
        }

        http.DefaultRequestHeaders.Authorization = new("Bearer", "wrong");
        Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync("/v1/volumes")).StatusCode);
        http.DefaultRequestHeaders.Authorization = new("Bearer", File.ReadAllText(Path.Combine(_ledger.DataDirectory, "run", "http.token")).Trim());
        Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/v1/volumes")).StatusCode);
    }

    [Fact]
    public void The_server_watches_no_settings_files()
    {
        foreach (var descriptor in Directory.GetFiles($"/proc/{_ledger.Pid("server")}/fd"))
            Assert.NotEqual("anon_inode:inotify", new FileInfo(descriptor).LinkTarget);
    }

    private static byte[] Frame(string json)
    {
        var text = Encoding.UTF8.GetBytes(json);
        var length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, text.Length);
        return [.. length, .. text];
    }

    private static byte[] AlmostAnOption(Random random)
    {
        // EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST and SET_META_CONTEXT, and one that nobody knows.
        uint[] known = [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 77];
        var data = new byte[random.Next(0, random.Next(6) == 0 ? 40_000 : 40)];
        random.NextBytes(data);
        if (random.Next(2) == 0 && data.Length >= 5)
            // The length of a name that is there, nearly.
            BinaryPrimitives.WriteUInt32BigEndian(data, (uint)Math.Max(0, data.Length - random.Next(0, 8)));
        var option = RawNbd.Option(known[random.Next(known.Length)], data);
        if (random.Next(6) == 0)
            BinaryPrimitives.WriteUInt32BigEndian(option.AsSpan(12), (uint)random.NextInt64(1L << 32));
        if (random.Next(10) == 0)
            option[random.Next(option.Length)] ^= (byte)(1 << random.Next(8));
        return option;
    }

    /// <summary>Others write, commands are carried out, and the ledger knows all of it; the agent is the one that it was.</summary>
    private void IsWell()
    {
        NbdShell.Write(_ledger.Export("v"), [(4096, 512)]);
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        Assert.True(_ledger.Json("check").GetProperty("ok").GetBoolean());
        Assert.DoesNotContain("nhandled", AgentLog(), StringComparison.Ordinal);
    }

    private string AgentLog() => File.ReadAllText(Path.Combine(_ledger.DataDirectory, "log", "agent.log"));

    private string State() => _ledger.Json("history", "v").GetRawText() + _ledger.Json("volume", "list").GetProperty("volumes").GetArrayLength();

    private async Task<(int Status, JsonElement Problem)> SendAsync(string method, string path, byte[]? body)
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path.Combine(_ledger.DataDirectory, "run", "api.sock")), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        var uri = new Uri("http://x" + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        using var request = new HttpRequestMessage(new(method), uri) { Content = body is null ? null : new ByteArrayContent(body) };
        using var response = await http.SendAsync(request);
        return ((int)response.StatusCode, JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement);
    }
}
