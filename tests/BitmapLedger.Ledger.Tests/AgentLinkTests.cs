using System.Net.Sockets;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The link to the Agent, with an Agent that says hello and nothing more.</summary>
public sealed class AgentLinkTests
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task A_link_that_is_to_meet_again_ends_also_while_the_agent_has_nothing_to_say()
    {
        using var scratch = new ScratchDirectory();
        var settings = new LedgerSettings(scratch.Path, 1L << 30, OwnCluster: false);
        Directory.CreateDirectory(Path.GetDirectoryName(settings.ControlSocket)!);
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(settings.ControlSocket));
        listener.Listen();
        using var link = new AgentLink(settings);
        var met = new TaskCompletionSource();

        var running = link.RunAsync((_, _) =>
        {
            met.SetResult();
            return Task.CompletedTask;
        }, (_, _) => Task.FromResult<ControlReply>(new Done()), CancellationToken.None);
        using var agent = await listener.AcceptAsync().WaitAsync(_limit);
        await agent.ReceiveAsync(new byte[4096]).WaitAsync(_limit);
        await agent.SendAsync(new ControlFrame(
            1, Request: null, new Welcome(ControlFrame.ProtocolVersion, 1, Guid.NewGuid(), [], [], [], new(Listener: null, []))).Encode());
        await met.Task.WaitAsync(_limit);
        link.MeetAgain();

        await running.ContinueWith(_ => { }, TaskScheduler.Default).WaitAsync(_limit);
        Assert.False(link.IsConnected);
    }
}
