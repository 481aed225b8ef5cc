using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Server;

/// <summary>Volumes as answers show them: what the ledger knows, beside what the Agent says.</summary>
internal static class VolumeView
{
    private const long BytesPerWriteInJournal = 64;

    public static async Task<IReadOnlyList<VolumeAnswer>> ManyAsync(
        IReadOnlyList<VolumeState> states, VolumeStreams streams, IAgent agent, CancellationToken cancellation)
    {
        Welcome? welcome = null;
        try
        {
            welcome = await agent.StatusAsync(cancellation);
        }
        catch (LedgerException away) when (away.IsTransient)
        {
            // Shown as state `away`: the ledger answers for itself.
        }

        return [.. (await streams.WithCheckpointsAsync(states, cancellation)).Select(s => Show(s, welcome))];
    }

    private static VolumeAnswer Show(VolumeState state, Welcome? welcome)
    {
        var status = welcome?.Volumes.FirstOrDefault(v => v.Id == state.Id);
        var last = Math.Max(status?.LastLsn ?? 0, state.LastLsn);
        var exported = welcome?.Exports.Shown(state.Id).ToHashSet(StringComparer.Ordinal) ?? [];
        return new(
            state.Name, state.Size, state.Backend, Export(
                state.Name, welcome?.Listeners), StateOf(state, status, welcome),
            state.Durability, state.WhenFull, state.ReadOnly, new(
                last, state.LastLsn), (last - state.LastLsn) * BytesPerWriteInJournal,
            status?.Rotations.LongestMicroseconds ?? 0,
            [.. BitmapOrder.Listed(state.Bitmaps, b => b.Run, welcome?.Run).Select(b => new BitmapSummary(
                b.Name, b.Granularity, b.Recording, b.Persistent, b.Busy || exported.Contains(b.Name), b.Inconsistent,
                b.Retention > 0 ? b.Retention : null, b.Retention > 0 ? b.Overflow : null, b.Retention > 0 ? b.Slices.Count : null))],
            Queries.Show(state.Checkpoints), state.Event);
    }

    private static string StateOf(VolumeState state, VolumeStatus? status, Welcome? welcome) =>
        status is { Published: true } ? "serving"
        : welcome?.Closed.FirstOrDefault(c => c.Id == state.Id)?.Code == ErrorCode.Damaged ? ErrorCode.Damaged
        : "away";

    /// <summary>The URI of the first listener, with the export in its path.</summary>
    private static string? Export(string name, IReadOnlyList<string>? listeners)
    {
        if (listeners is not [var first, ..])
            return null;
        var query = first.IndexOf('?', StringComparison.Ordinal);
        return query < 0 ? first + name : $"{first[..query]}{name}{first[query..]}";
    }
}
