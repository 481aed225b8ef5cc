using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;
using BitmapLedger.WritePath.Tracking;

namespace BitmapLedger.WritePath.Tests;

/// <summary>Links to the control socket are bounded, and none of those that say nothing keeps a server out.</summary>
public sealed class ControlServerTests : IDisposable
{
    private const int LinksMax = 16;
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(1);
    private readonly ScratchDirectory _scratch = new();
    private readonly ConcurrentQueue<string> _said = new();
    private readonly VolumeSet _volumes;
    private readonly ControlServer _server;
    private readonly List<Socket> _links = [];

    public ControlServerTests()
    {
        _volumes = new(_scratch.Path, Machine.This());
        _server = new(_scratch["control.sock"], _volumes, _said.Enqueue);
    }

    public void Dispose()
    {
        _links.ForEach(l => l.Dispose());
        _server.Dispose();
        _volumes.Dispose();
        _scratch.Dispose();
    }

    [Fact]
    public void The_oldest_link_that_says_no_hello_is_told_why_it_goes_when_there_are_too_many()
    {
        for (var i = 0; i < LinksMax; i++)
            Connect();
        Assert.Empty(_said);

        var server = Connect();

        var refusal = Assert.IsType<Failed>(Receive(_links[0])?.Reply);
        Assert.Equal("busy", refusal.Code);
        Assert.Contains($"there were {LinksMax}", refusal.Message, StringComparison.Ordinal);
        Assert.Null(Receive(_links[0]));
        Assert.Equal(refusal.Message, Assert.Single(_said));
        Assert.IsType<Welcome>(Ask(server, new Hello(ControlFrame.ProtocolVersion)));
    }

    [Fact]
    public async Task The_link_that_counts_stays_however_many_come()
    {
        var server = Connect();
        Assert.IsType<Welcome>(Ask(server, new Hello(ControlFrame.ProtocolVersion)));

        for (var i = 0; i < 5 * LinksMax; i++)
            Connect();

        await Waiting.UntilAsync(() => _said.Count == 4 * LinksMax + 1);
        Assert.IsType<Welcome>(Ask(server, new Status()));
    }

    [Fact]
    public void A_server_that_says_so_is_asked_back_while_it_asks()
    {
        Assert.Equal("no server is connected", Unanswered(_server.Ask(new ListRanges(default), _limit)));
        var silent = Connect();
        Ask(silent, new Hello(ControlFrame.ProtocolVersion));
        Assert.Equal("no server is connected", Unanswered(_server.Ask(new ListRanges(default), _limit)));
        var server = Connect();
        Ask(server, new Hello(ControlFrame.ProtocolVersion, Answers: true));

        var first = _server.Ask(new ListRanges(default), _limit);
        var second = _server.Ask(new ListRanges(default), _limit);
        var (one, two) = (Receive(server)!, Receive(server)!);
        Assert.IsType<ListRanges>(one.Request);
        Assert.IsType<Welcome>(Ask(server, new Status()));
        server.Send(new ControlFrame(two.Id, Request: null, new RangeNames(["two"])).Encode());
        server.Send(new ControlFrame(one.Id, Request: null, new RangeNames(["one"])).Encode());

        Assert.Equal(["one"], Assert.IsType<RangeNames>(first.Wait(_limit)).Names);
        Assert.Equal(["two"], Assert.IsType<RangeNames>(second.Wait(_limit)).Names);
    }

    [Fact]
    public async Task An_answer_that_comes_too_late_leaves_no_file_and_a_link_that_ends_leaves_no_question()
    {
        var server = Connect();
        Ask(server, new Hello(ControlFrame.ProtocolVersion, Answers: true));
        var late = _server.Ask(new ChangedBits(default, "start", To: null, 0), _limit);
        Assert.Null(late.Wait(TimeSpan.Zero));
        var file = _volumes.Bits.Put([1]);

        server.Send(new ControlFrame(Receive(server)!.Id, Request: null, new BitsFile(file)).Encode());
        await Waiting.UntilAsync(() => Directory.GetFiles(_scratch["run/bits"]).Length == 0);
        var open = _server.Ask(new ListRanges(default), _limit);
        server.Dispose();

        Assert.Equal("the server went away", Unanswered(open));
        await Waiting.UntilAsync(() => Unanswered(_server.Ask(new ListRanges(default), _limit)) == "no server is connected");
    }

    [Fact]
    public void A_server_that_does_not_read_is_given_up_and_the_link_stays_whole()
    {
        var server = Connect();
        Ask(server, new Hello(ControlFrame.ProtocolVersion, Answers: true));
        var asked = 0;
        LedgerQuestion last;
        do
            last = _server.Ask(new ChangedBits(default, new string('x', 4096), To: null, asked++), TimeSpan.FromMilliseconds(50));
        while (last.Wait(TimeSpan.Zero) is null);

        Assert.Equal("the server does not read", Unanswered(last));
        Assert.InRange(asked, 2, 10_000);
        for (var i = 0; i < asked - 1; i++)
            Assert.Equal(i, Assert.IsType<ChangedBits>(Receive(server)!.Request).Lsn);
        Assert.IsType<Welcome>(Ask(server, new Status()));
    }

    private static string Unanswered(LedgerQuestion question) => Assert.IsType<Failed>(question.Wait(_limit)).Message;

    private static ControlReply? Ask(Socket link, ControlRequest request)
    {
        link.Send(new ControlFrame(7, request, Reply: null).Encode());
        return Receive(link)?.Reply;
    }

    /// <summary>The next frame; null at the end of the link.</summary>
    private static ControlFrame? Receive(Socket link)
    {
        using var stream = new NetworkStream(link);
        var prefix = new byte[sizeof(int)];
        if (stream.ReadAtLeast(prefix, prefix.Length, throwOnEndOfStream: false) < prefix.Length)
            return null;
        var bytes = new byte[BinaryPrimitives.ReadInt32LittleEndian(prefix)];
        stream.ReadExactly(bytes);
        return JsonSerializer.Deserialize(bytes, ControlJson.Default.ControlFrame);
    }

    private Socket Connect()
    {
        var link = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 20_000 };
        link.Connect(new UnixDomainSocketEndPoint(_scratch["control.sock"]));
        _links.Add(link);
        return link;
    }
}
