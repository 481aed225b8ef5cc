using BitmapLedger.Contracts.Control;

namespace BitmapLedger.Ledger.Connecting;

/// <summary>The Agent, as the ledger talks to it.</summary>
public interface IAgent
{
    /// <summary>Whether it can be asked now.</summary>
    bool IsConnected { get; }

    /// <summary>Where bits lie that one gives the other.</summary>
    string BitsDirectory { get; }

    /// <summary>Asks and waits for the answer.</summary>
    /// <exception cref="LedgerException">The Agent is away, or said no.</exception>
    Task<ControlReply> AskAsync(ControlRequest request, CancellationToken cancellation);

    /// <summary>Ends the link, so that Agent and ledger meet again: the Agent may not know what the ledger has, or the
    /// other way round.</summary>
    void MeetAgain();
}

/// <summary>Questions whose answers have one form.</summary>
public static class AgentQuestions
{
    /// <summary>How the Agent and its volumes are.</summary>
    public static async Task<Welcome> StatusAsync(this IAgent agent, CancellationToken cancellation) =>
        (Welcome)await agent.AskAsync(new Status(), cancellation);

    /// <summary>The block exports that there are.</summary>
    public static async Task<ExportList> ExportsAsync(this IAgent agent, CancellationToken cancellation) =>
        (ExportList)await agent.AskAsync(new ListExports(), cancellation);

    /// <summary>Cuts the writes of several volumes at one instant each.</summary>
    public static async Task<IReadOnlyList<Fence>> RotateAsync(
        this IAgent agent, IReadOnlyList<RotateVolume> volumes, CancellationToken cancellation) =>
        ((Rotated)await agent.AskAsync(new Rotate(volumes), cancellation)).Fences;
}
