using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Qmp.Serving;
using BitmapLedger.Testing;

namespace BitmapLedger.Qmp.Tests;

/// <summary>A listener that fails: one that is shut down for reading refuses every accept until it listens again.</summary>
public sealed class AcceptingTests
{
    [Fact]
    public async Task Clients_that_cannot_be_accepted_are_told_of_with_pauses_and_later_ones_are_served()
    {
        ConcurrentQueue<Exception> told = [];
        var server = new QmpServer([], new() { Version = (7, 2, 0), Package = "test", OnNotAccepted = told.Enqueue });
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        using var ending = new CancellationTokenSource();
        var accepting = server.AcceptAsync(listener, ending.Token);

        var since = Stopwatch.StartNew();
        listener.Shutdown(SocketShutdown.Receive);
        await Waiting.UntilAsync(() => told.Count >= 3 || accepting.IsCompleted);
        Assert.False(accepting.IsCompleted);
        Assert.InRange(told.Count, 3, 2 + (since.ElapsedMilliseconds / 100));

        listener.Listen();
        // The kernel gives it another port, which the socket that has asked before does not ask for again.
        using var again = new Socket(new SafeSocketHandle(listener.Handle, ownsHandle: false));
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(again.LocalEndPoint!);
        await using (var client = await QmpClient.OpenAsync(new NetworkStream(socket), [], CancellationToken.None))
            Assert.NotNull(await client.ExecuteAsync("query-version", arguments: null, CancellationToken.None));

        await ending.CancelAsync();
        await accepting;
    }
}
