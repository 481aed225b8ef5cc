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
    public async Task<JsonNode?> NodesAsync(CancellationToken cancellation)
    {
        var shown = new JsonArray();
        foreach (var state in await NewestFirstAsync(cancellation))
            shown.Add(await ShowAsync(state, cancellation));
        return shown;
    }

    /// <summary>Every node as the medium of a device of its name.</summary>
    public async Task<JsonNode?> DevicesAsync(CancellationToken cancellation)
    {
        var shown = new JsonArray();
        foreach (var state in (await NewestFirstAsync(cancellation)).Reverse())
        {
            shown.Add(new JsonObject
            {
                ["device"] = state.Name,
                ["type"] = "unknown",
                ["removable"] = false,
                ["locked"] = false,
                ["inserted"] = await ShowAsync(state, cancellation),
            });
        }

        return shown;
    }

    /// <summary>Digest of a bitmap with every write so far.</summary>
    public async Task<JsonNode?> DigestAsync(string node, string bitmap, CancellationToken cancellation)
    {
        if (await actions.FindAsync(node, cancellation) is not { } state)
            throw new QmpException($"Node '{node}' not found");
        var (_, bits) = await LookAsync(state, bitmap, withSha256: true, cancellation);
        return bits is [var only]
            ? new JsonObject { ["sha256"] = only.Sha256 }
            : throw new QmpException($"Dirty bitmap '{bitmap}' not found");
    }

    private async Task<IReadOnlyList<VolumeState>> NewestFirstAsync(CancellationToken cancellation) =>
        [.. (await streams.AllAsync(cancellation)).OrderByDescending(v => v.Created).ThenByDescending(v => v.Id)];

    private async Task<JsonObject> ShowAsync(VolumeState before, CancellationToken cancellation)
    {
        var (state, bits) = await LookAsync(before, bitmap: null, withSha256: false, cancellation);
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
        var exported = (await agent.ExportsAsync(cancellation)).Shown(state.Id).ToList();
        shown["dirty-bitmaps"] = new JsonArray([.. state.Bitmaps.Zip(bits, (b, d) => Show(b, d, exported.Contains(b.Name)))]);
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
    /// The state of a volume, and the bits of its bitmaps at the same time: asked for without its lane, so that questions
    /// wait for no command, until both speak of the same bitmaps.
    /// </summary>
    private async Task<(VolumeState State, IReadOnlyList<BitmapDigest> Bits)> LookAsync(
        VolumeState state, string? bitmap, bool withSha256, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            // A command may come and come again: then it is kept out for once.
            using var lane = attempt > AttemptsMax ? await lanes.TakeAsync([state.Id], cancellation) : null;
            if (attempt > 1)
                state = await streams.LoadAsync(state.Id, cancellation) ?? state;
            var wanted = state.Bitmaps.Where(b => bitmap is null || b.Name == bitmap).ToList();
            if (wanted.Count == 0)
                return (state, []);
            var answer = (LiveDigests)await agent.AskAsync(new DigestLive(state.Id, bitmap, withSha256), cancellation);
            if (answer.Size == state.Size && Matches(wanted, answer.Bitmaps))
                return (state, [.. wanted.Select(w => answer.Bitmaps.First(b => b.Name == w.Name))]);
            if (lane is not null)
                throw new LedgerException(Contracts.ErrorCode.Busy, $"the agent has not got the bitmaps of '{state.Name}' yet", "try again");
            await Task.Delay(TimeSpan.FromMilliseconds(attempt), TimeProvider.System, cancellation);
        }
    }

    private static bool Matches(List<BitmapState> wanted, IReadOnlyList<BitmapDigest> bits) =>
        wanted.TrueForAll(w => bits.Any(b => b.Name == w.Name));
}
