using System.Text.Json.Nodes;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Qmp.Commands;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;

namespace BitmapLedger.Server.Qmp;

/// <summary>The commands of <c>run/qmp.sock</c>, beside the negotiation: what is here is what <c>query-commands</c> lists.</summary>
internal sealed class QmpCommands(
    QmpLedger ledger, QmpNodes nodes, QmpActions actions, QmpHistory history, QmpExports exports, QuitRequest quit)
{
    public IReadOnlyList<QmpCommand> All() =>
    [
        new("block_resize", QemuSchema.BlockResize, ResizeAsync),
        .. QmpActions.Schema.Where(a => a.Key != "abort").Select(a => new QmpCommand(a.Key, a.Value, ledger.OneAsync)),
        new("transaction", QemuSchema.Transaction(QmpActions.Schema), ledger.TransactAsync),
        .. Others().Select(o => o with { Handler = (request, c) => ledger.OnceAsync(request, away => o.Handler(request, away), c) }),
    ];

    /// <summary>Those that command no volume.</summary>
    private IReadOnlyList<QmpCommand> Others() =>
    [
        new("query-command", ArgumentType.Structure(ExtensionSchema.CommandById), ledger.LookUpAsync, AllowsOob: true),
        new("query-block", [], (_, c) => ledger.AskAsync(nodes.DevicesAsync, c)),
        new("query-named-block-nodes", QemuSchema.NamedBlockNodes, (_, c) => ledger.AskAsync(nodes.NodesAsync, c)),
        new("x-debug-block-dirty-bitmap-sha256", QemuSchema.Bitmap, (r, c) => ledger.AskAsync(
            away => nodes.DigestAsync(r.Arguments.Text("node"), r.Arguments.Text("name"), away), c)),
        new("query-block-dirty-bitmap-history", ExtensionSchema.History, (r, c) => ledger.AskAsync(
            away => history.EventsAsync(r.Arguments, away), c)),
        new("query-block-dirty-bitmap-slices", ExtensionSchema.Slices, (r, c) => ledger.AskAsync(
            away => history.SlicesAsync(r.Arguments, away), c)),
        new("query-block-checkpoints", ExtensionSchema.Checkpoints, (r, c) => ledger.AskAsync(
            away => history.CheckpointsAsync(r.Arguments.OptionalText("node"), away), c)),
        new("nbd-server-start", QemuSchema.NbdServerStart, exports.StartAsync),
        new("nbd-server-stop", [], exports.StopAsync),
        new("block-export-add", QemuSchema.BlockExportAdd, exports.AddAsync),
        new("block-export-del", QemuSchema.BlockExportDel, exports.RemoveAsync),
        new("query-block-exports", [], exports.ListAsync),
        new("query-status", [], (_, _) => Done(new JsonObject { ["status"] = "running", ["singlestep"] = false, ["running"] = true })),
        new("query-name", [], (_, _) => Done(new JsonObject())),
        new("query-tpm", [], (_, _) => Done(new JsonArray())),
        new("quit", [], (_, _) =>
        {
            quit.Quit();
            return Done(null);
        }),
    ];

    private static Task<JsonNode?> Done(JsonNode? value) => Task.FromResult(value);

    private Task<JsonNode?> ResizeAsync(QmpRequest request, CancellationToken cancellation) => ledger.CommandAsync(request, async away =>
    {
        var (device, node, size) = (
            request.Arguments.OptionalText("device") ?? "", request.Arguments.OptionalText("node-name") ?? "", request.Arguments.Number("size"));
        if (await actions.FindAsync(node.Length > 0 ? node : device, away) is not { } volume)
            return QmpActions.Refuse($"Cannot find device='{device}' nor node-name='{node}'");
        return size < 0
            ? QmpActions.Refuse("Parameter 'size' expects a >0 size")
            : new VolumeAction(volume.Id, new VolumeCommand.ResizeVolume(size));
    }, cancellation);
}
