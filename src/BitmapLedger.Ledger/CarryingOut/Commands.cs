using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using Wolverine;

namespace BitmapLedger.Ledger.CarryingOut;

/// <summary>Sends commands through Wolverine, each inside the lanes of its volumes.</summary>
/// <param name="streams">Finds volumes by name.</param>
/// <param name="lanes">The lanes.</param>
/// <param name="once">Knows what was commanded before.</param>
public sealed class Commands(VolumeStreams streams, SettledLanes lanes, OnceOnly once)
{
    /// <summary>Carries a command to some volumes out.</summary>
    /// <param name="bus">Wolverine.</param>
    /// <param name="names">The volumes, by name.</param>
    /// <param name="command">What is wanted of each.</param>
    /// <param name="origin">Who commands.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <exception cref="LedgerException">It was refused, or could not be done.</exception>
    public Task<IReadOnlyList<CommandAnswer>> CarryOutAsync(
        IMessageBus bus, IReadOnlyList<string> names, VolumeCommand command, CommandOrigin origin, CancellationToken cancellation)
    {
        var fingerprint = $"{command.GetType().Name} {JsonSerializer.Serialize(names)} "
            + JsonSerializer.Serialize(command, command.GetType());
        return once.ActAsync(origin, fingerprint, async () =>
        {
            if (names.Count == 0)
                throw new LedgerException(ErrorCode.BadArgument, "no volume is named");
            List<VolumeOrder> orders = [];
            foreach (var name in names.Distinct(StringComparer.Ordinal))
                orders.Add(new((await streams.FindAsync(name, cancellation)).Id, [command]));

            using (await lanes.TakeAsync([.. orders.Select(o => o.VolumeId)], cancellation))
            {
                var outcome = await bus.InvokeAsync<CommandOutcome>(new CarryOut(orders, origin, fingerprint), cancellation);
                return outcome.Refusal is { } refusal ? throw new LedgerException(refusal) : outcome.Answers;
            }
        }, cancellation);
    }
}
