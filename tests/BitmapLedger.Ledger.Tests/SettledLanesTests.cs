using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Ledger.Connecting;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Whom a command waits for before it is decided.</summary>
public sealed class SettledLanesTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _never = CancellationToken.None;

    // The agent does not know the volume, and may be given it yet; one that was removed it is never given.
    [Fact]
    public async Task A_command_that_waits_for_the_agent_waits_no_longer_when_its_volume_is_removed()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        SettledLanes lanes = new(new(), new EmptyAgent(), ledger.Streams, TimeProvider.System);

        var waiting = lanes.TakeAsync([ledger.VolumeId], _never);
        Assert.False(waiting.IsCompleted);
        await ledger.AppendAsync(1, new VolumeRemoved(0));

        // Well before its patience ends, and without what that would say.
        using var taken = await waiting.WaitAsync(TimeSpan.FromSeconds(15), _never);
    }

    private sealed class EmptyAgent : IAgent
    {
        public string BitsDirectory => "";

        public bool IsConnected => true;

        public Task<ControlReply> AskAsync(ControlRequest request, CancellationToken cancellation) =>
            Task.FromResult<ControlReply>(new Welcome(ControlFrame.ProtocolVersion, 1, Guid.Empty, [], [], [], new(Listener: null, [])));

        public void MeetAgain()
        {
        }
    }
}
