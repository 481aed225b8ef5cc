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
