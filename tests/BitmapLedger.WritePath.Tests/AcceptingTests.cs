using System.Collections.Concurrent;
using System.Net.Sockets;
using BitmapLedger.Testing;
using BitmapLedger.WritePath.Control;

namespace BitmapLedger.WritePath.Tests;

/// <summary>A listener ends when it is closed and for no other reason.</summary>
public sealed class AcceptingTests : IDisposable
{
    private readonly ScratchDirectory _scratch = new();
    private readonly CancellationTokenSource _closed = new();
    private readonly ConcurrentQueue<string> _said = new();
    private readonly ConcurrentQueue<Socket> _accepted = new();
    private readonly Socket _listener;
    private readonly Thread _accepting;

    public AcceptingTests()
    {
        _listener = UnixListener.Listen(_scratch["s"]);
        _accepting = new Thread(() =>
        {
            while (Accepting.Next(_listener, look: null, _said.Enqueue, _closed.Token) is { } client)
                _accepted.Enqueue(client);
        });
        _accepting.Start();
    }

    public void Dispose()
    {
        _closed.Cancel();
        _listener.Dispose();
        _accepting.Join();
        foreach (var client in _accepted)
            client.Dispose();
        _closed.Dispose();
        _scratch.Dispose();
    }

    [Fact]
    public async Task Clients_come_one_after_the_other_until_the_listener_is_closed()
    {
        using var first = Connect();
        using var second = Connect();
        await Waiting.UntilAsync(() => _accepted.Count == 2);

        _closed.Cancel();
        _listener.Dispose();

        await Waiting.UntilAsync(() => !_accepting.IsAlive);
        Assert.Empty(_said);
    }

    [Fact]
    public async Task A_client_that_went_away_before_it_was_accepted_keeps_nobody_out()
    {
        for (var i = 0; i < 50; i++)
            Connect().Dispose();
        using var last = Connect();

        await Waiting.UntilAsync(() => _accepted.Count == 51);

        Assert.True(_accepting.IsAlive);
        Assert.Empty(_said);
    }

    // Method: the descriptor is made one that cannot accept, as the system would refuse it, and the listening one again later.
    [Fact]
    public async Task What_the_system_refuses_is_said_once_and_tried_again_until_it_does_not()
    {
        using var refusing = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using var listening = new SafeSocketHandle(Posix.Duplicate((int)_listener.Handle), ownsHandle: true);
        Posix.Replace((int)_listener.Handle, by: (int)refusing.Handle);
        // Whoever waited in it when it was replaced still takes one client.
        using var first = Connect();
        await Waiting.UntilAsync(() => !_said.IsEmpty);
        using var second = Connect();
        await Task.Delay(TimeSpan.FromMilliseconds(500));
        Assert.True(_accepting.IsAlive);
        Assert.Single(_accepted);
        Assert.Contains("clients have to wait", Assert.Single(_said), StringComparison.Ordinal);

        Posix.Replace((int)_listener.Handle, by: (int)listening.DangerousGetHandle());

        await Waiting.UntilAsync(() => _accepted.Count == 2);
        Assert.Single(_said);
    }

    [Fact]
    public async Task A_listener_that_is_refused_all_the_time_ends_when_it_is_closed()
    {
        _listener.Shutdown(SocketShutdown.Both);
        await Waiting.UntilAsync(() => !_said.IsEmpty);
        Assert.True(_accepting.IsAlive);

        _closed.Cancel();

        await Waiting.UntilAsync(() => !_accepting.IsAlive);
        Assert.Single(_said);
    }

    private Socket Connect()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(_scratch["s"]));
        return socket;
    }
}
