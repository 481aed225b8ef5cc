using System.Text.Json.Nodes;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Qmp;

namespace BitmapLedger.Server.Qmp;

/// <summary>Volumes as QEMU shows the nodes of raw files: what the ledger knows of them, and the bits that the Agent has now.</summary>
internal sealed class QmpNodes(VolumeStreams streams, QmpActions actions, SettledLanes lanes, IAgent agent)
{
    /// <summary>How often ledger and Agent are asked again when a command came between.</summary>
    private const int AttemptsMax = 20;

    /// <summary>Every node, the newest first.</summary>
    public async Task<JsonNode?> NodesAsync(CancellationToken cancellation) =>
        new JsonArray([.. (await LookAsync(await NewestFirstAsync(cancellation), bitmap: null, withSha256: false, cancellation)).Select(Show)]);

    /// <summary>Every node as the medium of a device of its name.</summary>
    public async Task<JsonNode?> DevicesAsync(CancellationToken cancellation) =>
        new JsonArray([.. (await NodesAsync(cancellation))!.AsArray().Reverse().Select(n => new JsonObject
        {
            ["device"] = n!["node-name"]!.DeepClone(),
            ["type"] = "unknown",
            ["removable"] = false,
            ["locked"] = false,
            ["inserted"] = n.DeepClone(),
        })]);

    /// <summary>Digest of a bitmap with every write so far.</summary>
    public async Task<JsonNode?> DigestAsync(string node, string bitmap, CancellationToken cancellation)
    {
        if (await actions.FindAsync(node, cancellation) is not { } state)
            throw new QmpException($"Node '{node}' not found");
        return await LookAsync([state], bitmap, withSha256: true, cancellation) is [{ Bits: [var only] }]
            ? new JsonObject { ["sha256"] = only.Sha256 }
            : throw new QmpException($"Dirty bitmap '{bitmap}' not found");
    }

    private async Task<IReadOnlyList<VolumeState>> NewestFirstAsync(CancellationToken cancellation) =>
        [.. (await streams.AllAsync(cancellation)).OrderByDescending(v => v.Created).ThenByDescending(v => v.Id)];

    private static JsonObject Show(SeenVolume seen)
    {
        var state = seen.State;
        var shown = new JsonObject
        {
            ["iops_rd"] = 0,
            ["detect_zeroes"] = "off",
            ["image"] = new JsonObject
            {
                ["virtual-size"] = state.Size,
                ["filename"] = state.File,
                ["format"] = "raw",
                ["dirty-flag"] = false,
            },
            ["iops_wr"] = 0,
            ["ro"] = state.ReadOnly,
            ["node-name"] = state.Name,
            ["backing_file_depth"] = 0,
            ["drv"] = "raw",
            ["iops"] = 0,
            ["bps_wr"] = 0,
            ["write_threshold"] = 0,
            ["encrypted"] = false,
            ["bps"] = 0,
            ["bps_rd"] = 0,
            ["cache"] = new JsonObject { ["no-flush"] = false, ["direct"] = false, ["writeback"] = true },
            ["file"] = state.File,
        };
        if (state.Bitmaps.Count == 0)
            return shown;
        shown["dirty-bitmaps"] = new JsonArray([.. BitmapOrder.Listed([.. state.Bitmaps.Zip(seen.Bits)], b => b.First.Run, seen.Run).Select(
            b => Show(b.First, b.Second, seen.Exported.Contains(b.First.Name)))]);
        return shown;
    }

    private static JsonObject Show(BitmapState bitmap, BitmapDigest bits, bool isExported)
    {
        var shown = new JsonObject
        {
            ["name"] = bitmap.Name,
            ["recording"] = bitmap.Recording && !bitmap.Inconsistent,
            ["persistent"] = bitmap.Persistent,
            ["busy"] = bitmap.Busy || isExported,
            ["granularity"] = bitmap.Granularity,
            ["count"] = bits.Count,
        };
        if (bitmap.Inconsistent)
            shown["inconsistent"] = true;
        return shown;
    }

    /// <summary>
    /// The states of volumes, and the bits of their bitmaps at the same time: asked for without their lanes, so that questions
    /// wait for no command, until both speak of the same bitmaps.
    /// </summary>
    private async Task<IReadOnlyList<SeenVolume>> LookAsync(
        IReadOnlyList<VolumeState> states, string? bitmap, bool withSha256, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            // A command may come and come again: then it is kept out for once.
            using var lane = attempt > AttemptsMax ? await lanes.TakeAsync([.. states.Select(s => s.Id)], cancellation) : null;
            if (attempt > 1)
                states = await AgainAsync(states, cancellation);
            Guid[] ids = [.. states.Where(s => Wanted(s, bitmap).Any()).Select(s => s.Id)];
            if (ids.Length == 0)
                return [.. states.Select(s => new SeenVolume(s, [], default, []))];
            var answer = (LiveDigests)await agent.AskAsync(new DigestLive(ids, bitmap, withSha256), cancellation);
            var seen = states.Select(s => See(s, bitmap, answer)).ToList();
            var missing = seen.FindIndex(s => s is null);
            if (missing < 0)
                return seen!;
            if (await ClosedAsync(states[missing].Id, cancellation) is { } closed)
            {
                // Nobody knows its bits. As an image that cannot be opened is no node of QEMU's, it is none of ours.
                states = bitmap is null
                    ? [.. states.Where(s => s.Id != closed.Id)]
                    : throw new LedgerException(closed.Code, closed.Why);
                continue;
            }

            if (lane is not null)
                throw new LedgerException(
                    Contracts.ErrorCode.Busy, $"the agent has not got the bitmaps of '{states[missing].Name}' yet", "try again");
            await Task.Delay(TimeSpan.FromMilliseconds(attempt), TimeProvider.System, cancellation);
        }
    }

    private async Task<ClosedVolume?> ClosedAsync(Guid id, CancellationToken cancellation) =>
        ((Welcome)await agent.AskAsync(new Status([id]), cancellation)).Closed.FirstOrDefault(c => c.Id == id);

    private async Task<IReadOnlyList<VolumeState>> AgainAsync(IReadOnlyList<VolumeState> states, CancellationToken cancellation)
    {
        List<VolumeState> now = [];
        foreach (var state in states)
            if (await streams.LoadAsync(state.Id, cancellation) is { Removed: false } there)
                now.Add(there);
        return now;
    }

    private static IEnumerable<BitmapState> Wanted(VolumeState state, string? bitmap) =>
        state.Bitmaps.Where(b => bitmap is null || b.Name == bitmap);

    /// <summary>A volume beside what the Agent says of it; null when that is of other bitmaps.</summary>
    private static SeenVolume? See(VolumeState state, string? bitmap, LiveDigests answer)
    {
        var wanted = Wanted(state, bitmap).ToList();
        if (wanted.Count == 0)
            return new(state, [], answer.Run, []);
        var live = answer.Volumes.FirstOrDefault(v => v.Id == state.Id);
        return live is not null && live.Size == state.Size && wanted.TrueForAll(w => live.Bitmaps.Any(b => b.Name == w.Name))
            ? new(
                state, [.. wanted.Select(w => live.Bitmaps.First(b => b.Name == w.Name))], answer.Run,
                [.. answer.Exports.Shown(state.Id)])
            : null;
    }

    /// <summary>A volume, the bits of its bitmaps that are wanted, in their order, the run of the Agent, and the bitmaps that
    /// block exports show.</summary>
    private sealed record SeenVolume(
        VolumeState State, IReadOnlyList<BitmapDigest> Bits, Guid Run, IReadOnlyList<string> Exported);
}
