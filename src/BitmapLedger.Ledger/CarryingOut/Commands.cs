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
    /// <summary>Told of the slices that a command dropped, whoever sent it, once: the volume's name, and which. Set before
    /// anything is commanded; called by the thread of the command, inside the volume's lane.</summary>
    public Action<string, IReadOnlyList<SliceId>> OnDropped { get; set; } = (_, _) => { };

    /// <summary>Carries a command to some volumes out.</summary>
    /// <param name="bus">Wolverine.</param>
    /// <param name="names">The volumes, by name.</param>
    /// <param name="command">What is wanted of each.</param>
    /// <param name="origin">Who commands.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>One answer for each volume.</returns>
    /// <exception cref="LedgerException">It was refused, or could not be done.</exception>
    public Task<IReadOnlyList<CommandAnswer>> CarryOutAsync(
        IMessageBus bus, IReadOnlyList<string> names, VolumeCommand command, CommandOrigin origin, CancellationToken cancellation)
    {
        var fingerprint = $"{command.GetType().Name} {JsonSerializer.Serialize(names)} {Fingerprint(command)}";
        return once.ActAsync(origin, fingerprint, async () =>
        {
            if (names.Count == 0)
                throw new LedgerException(ErrorCode.BadArgument, "no volume is named");
            List<VolumeAction> actions = [];
            foreach (var name in names.Distinct(StringComparer.Ordinal))
                actions.Add(new(await streams.IdAsync(name, cancellation), command));
            return await SendAsync(bus, actions, origin, fingerprint, cancellation);
        }, cancellation);
    }

    /// <summary>Carries several commands out as one, in order: all of them, or none and then the first that was refused says
    /// why.</summary>
    /// <param name="bus">Wolverine.</param>
    /// <param name="fingerprint">What is commanded, as it was said: what it means may be another thing when it is said
    /// again.</param>
    /// <param name="read">What is wanted; of volumes that are there, or were. Not asked for when the id acted before.</param>
    /// <param name="origin">Who commands.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>One answer for each volume that is commanded, in the order of their first commands.</returns>
    /// <exception cref="LedgerException">It was refused, or could not be done.</exception>
    public Task<IReadOnlyList<CommandAnswer>> TransactAsync(
        IMessageBus bus, string fingerprint, Func<Task<IReadOnlyList<VolumeAction>>> read, CommandOrigin origin,
        CancellationToken cancellation) => once.ActAsync(origin, fingerprint, async () =>
        {
            var actions = await read();
            return actions.Count == 0
                ? await RememberAsync(origin, fingerprint, cancellation)
                : await SendAsync(bus, actions, origin, fingerprint, cancellation);
        }, cancellation);

    /// <summary>Of nothing nothing comes; its id is taken all the same.</summary>
    private async Task<IReadOnlyList<CommandAnswer>> RememberAsync(
        CommandOrigin origin, string fingerprint, CancellationToken cancellation) =>
        await streams.AppendAsync([], origin, CommandRecord.Of(origin, fingerprint, []), cancellation) is { } first
            ? first.Repeat(fingerprint)
            : [];

    private static string Fingerprint(VolumeCommand command) => JsonSerializer.Serialize(command, command.GetType());

    private async Task<IReadOnlyList<CommandAnswer>> SendAsync(
        IMessageBus bus, IReadOnlyList<VolumeAction> actions, CommandOrigin origin, string fingerprint, CancellationToken cancellation)
    {
        Guid[] volumeIds = [.. Commanded(actions).Concat(MergedFrom(actions)).Distinct()];
        using var taken = await lanes.TakeAsync(volumeIds, cancellation);
        var outcome = await bus.InvokeAsync<CommandOutcome>(
            new CarryOut(actions, volumeIds, origin, fingerprint, taken.Agent), cancellation);
        if (outcome.Refusal is { } refusal)
            throw new LedgerException(refusal);
        foreach (var answer in outcome.Answers.Where(a => a.DroppedSlices is not null))
            OnDropped(answer.Volume, answer.DroppedSlices!);
        return outcome.Answers;
    }

    private static IEnumerable<Guid> Commanded(IReadOnlyList<VolumeAction> actions) =>
        actions.Where(a => a.Command is not VolumeCommand.Abort).Select(a => a.Volume);

    private static IEnumerable<Guid> MergedFrom(IReadOnlyList<VolumeAction> actions) =>
        actions.Select(a => a.Command).OfType<VolumeCommand.MergeBitmap>().SelectMany(m => m.Sources)
            .Where(s => s.Volume is not null).Select(s => s.Volume!.Value);
}
