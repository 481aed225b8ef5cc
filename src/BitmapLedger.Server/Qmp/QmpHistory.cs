using System.Text.Json;
using System.Text.Json.Nodes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Server.Qmp;

/// <summary>Questions that QEMU cannot answer: history, slices, checkpoints. In the words of HTTP.</summary>
internal sealed class QmpHistory(
    QmpActions actions, Histories histories, SliceReader slices, CheckpointReader checkpoints, VolumeStreams streams)
{
    /// <summary>Events of a reply, unless more or fewer are asked for: as many as a page of HTTP has.</summary>
    private const long EventsDefault = 1_000;

    private const long EventsMax = 10_000;

    /// <summary>Members of events that name a bitmap.</summary>
    private static readonly string[] _naming = ["name", "bitmap", "target"];

    /// <summary>Members that list some: sources of a merge, bitmaps of a backup.</summary>
    private static readonly string[] _lists = ["sources", "bitmaps"];

    /// <summary>The events of a node, or those that concern one of its bitmaps: as many as a reply may hold, and where it goes on
    /// when there are more.</summary>
    public async Task<JsonNode?> EventsAsync(Arguments arguments, CancellationToken cancellation)
    {
        var node = await RequireAsync(arguments.Text("node"), cancellation);
        var name = arguments.OptionalText("name");
        var limit = arguments.OptionalNumber("limit") ?? EventsDefault;
        if (limit is < 1 or > EventsMax)
            throw new QmpException($"Parameter 'limit' expects 1 to {EventsMax}");
        // No block of writes names a bitmap: they need not even be read.
        var filter = new HistoryFilter(
            arguments.OptionalText("from"), arguments.OptionalText("to"), name is null ? [] : HistoryFilter.AllButWrites, Offset: null,
            Length: null)
        {
            After = arguments.OptionalNumber("after"),
        };
        return JsonSerializer.SerializeToNode(await ReadAsync(node, filter, name, limit, cancellation), ApiJson.Default.HistoryAnswer);
    }

    /// <summary>The slices of a bitmap, ascending.</summary>
    public async Task<JsonNode?> SlicesAsync(Arguments arguments, CancellationToken cancellation)
    {
        var node = await RequireAsync(arguments.Text("node"), cancellation);
        return new JsonArray([.. (await slices.ListAsync(node, arguments.Text("name"), cancellation)).Select(s => new JsonObject
        {
            ["slice"] = s.Slice,
            ["count"] = s.Count,
            ["sha256"] = s.Sha256,
            ["from"] = Show(s.From.Answer),
            ["to"] = Show(s.To.Answer),
            ["cause"] = s.Cause,
        })]);
    }

    /// <summary>The checkpoints of a node, or of all, oldest first.</summary>
    public async Task<JsonNode?> CheckpointsAsync(string? node, CancellationToken cancellation)
    {
        var shown = new JsonArray();
        string[] nodes = node is null
            ? [.. (await streams.AllAsync(cancellation)).Select(v => v.Name)]
            : [await RequireAsync(node, cancellation)];
        foreach (var name in nodes)
        {
            foreach (var checkpoint in await ListAsync(name, isOneOfAll: node is null, cancellation))
            {
                shown.Add(new JsonObject
                {
                    ["name"] = checkpoint.Name,
                    ["node"] = name,
                    ["parent"] = checkpoint.Parent,
                    ["at"] = Show(checkpoint.At.Answer),
                    ["count"] = checkpoint.Count,
                });
            }
        }

        return shown;
    }

    private async Task<HistoryAnswer> ReadAsync(
        string node, HistoryFilter filter, string? bitmap, long limit, CancellationToken cancellation)
    {
        List<HistoryEvent> events = [];
        bool? exact = null;
        await foreach (var page in histories.PagesAsync(node, filter, cancellation))
        {
            exact = page.Answer.Exact ?? exact;
            foreach (var happened in page.Answer.Events.Where(e => bitmap is null || Concerns(e, bitmap)))
            {
                if (events.Count == limit)
                    return new(events, exact, events[^1].Event);
                events.Add(happened);
            }
        }

        return new(events, exact);
    }

    /// <summary>The checkpoints of a node; one of all that has gone since they were listed has none.</summary>
    private async Task<IReadOnlyList<CheckpointView>> ListAsync(string node, bool isOneOfAll, CancellationToken cancellation)
    {
        try
        {
            return await checkpoints.ListAsync(node, cancellation);
        }
        catch (LedgerException gone) when (isOneOfAll && gone.Code == ErrorCode.NotFound)
        {
            return [];
        }
    }

    private async Task<string> RequireAsync(string node, CancellationToken cancellation) =>
        await actions.FindAsync(node, cancellation) is { } volume ? volume.Name : throw new QmpException($"Node '{node}' not found");

    private static JsonObject Show(PositionAnswer at) =>
        new() { ["asked"] = at.Asked, ["event"] = at.Event, ["lsn"] = at.Lsn, ["time"] = at.Time };

    private static bool Concerns(HistoryEvent happened, string bitmap) =>
        Array.Exists(_naming, m => happened.Data.TryGetProperty(m, out var value) && Names(value, bitmap))
        || Array.Exists(_lists, m => happened.Data.TryGetProperty(m, out var list) && list.EnumerateArray().Any(e => IsOf(e, bitmap)));

    /// <summary>Whether an element of a list is a bitmap of this volume: by its name, or as a source of a merge that names no other
    /// volume.</summary>
    private static bool IsOf(JsonElement element, string bitmap) => element.ValueKind == JsonValueKind.Object
        ? !(element.TryGetProperty("volume", out var other) && other.ValueKind != JsonValueKind.Null)
            && element.TryGetProperty("name", out var name) && Names(name, bitmap)
        : Names(element, bitmap);

    private static bool Names(JsonElement value, string bitmap) =>
        value.ValueKind == JsonValueKind.String && value.ValueEquals(bitmap);
}
