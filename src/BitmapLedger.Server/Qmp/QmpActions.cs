using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Qmp.Commands;
using BitmapLedger.Qmp.Schema;

namespace BitmapLedger.Server.Qmp;

/// <summary>
/// Commands that may also be actions of a transaction: what each accepts, and what it wants of a volume. What QEMU checks
/// before a bitmap is looked at is refused at its place in the list, so that the first error is QEMU's first error.
/// </summary>
internal sealed class QmpActions(VolumeStreams streams)
{
    private const int NameBytesMax = 1023;

    /// <summary>Types of actions, and their data.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<Member>> Schema { get; } = new Dictionary<string, IReadOnlyList<Member>>
    {
        ["abort"] = [],
        ["block-dirty-bitmap-add"] = QemuSchema.BitmapAdd,
        ["block-dirty-bitmap-remove"] = QemuSchema.Bitmap,
        ["block-dirty-bitmap-clear"] = QemuSchema.Bitmap,
        ["block-dirty-bitmap-enable"] = QemuSchema.Bitmap,
        ["block-dirty-bitmap-disable"] = QemuSchema.Bitmap,
        ["block-dirty-bitmap-merge"] = QemuSchema.BitmapMerge,
        ["block-dirty-bitmap-set-retention"] = ExtensionSchema.SetRetention,
        ["block-dirty-bitmap-slice-create"] = ExtensionSchema.SliceCreate,
        ["block-dirty-bitmap-slice-delete"] = ExtensionSchema.SliceDelete,
        ["block-checkpoint-add"] = ExtensionSchema.CheckpointAdd,
        ["block-checkpoint-remove"] = ExtensionSchema.CheckpointRemove,
    };

    /// <summary>What an action wants, of one volume or several.</summary>
    /// <param name="type">Its type.</param>
    /// <param name="data">Its data, checked.</param>
    /// <param name="earlier">What the actions before it want.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<IReadOnlyList<VolumeAction>> ReadAsync(
        string type, Arguments data, IReadOnlyList<VolumeAction> earlier, CancellationToken cancellation) => type switch
        {
            "abort" => [Refuse()],
            "block-dirty-bitmap-add" => [await AddAsync(data, cancellation)],
            "block-dirty-bitmap-merge" => await MergeAsync(data, cancellation),
            "block-checkpoint-add" => await CheckpointsAsync(
                data, new VolumeCommand.CreateCheckpoint(data.Text("name"), [.. Names(data)]), earlier, cancellation),
            "block-checkpoint-remove" => await CheckpointsAsync(
                data, new VolumeCommand.DeleteCheckpoint(data.Text("name")), earlier, cancellation),
            _ => [await BitmapAsync(type, data, cancellation)],
        };

    /// <summary>The volume of a node's name.</summary>
    /// <returns>Null when there is none.</returns>
    public async Task<VolumeState?> FindAsync(string node, CancellationToken cancellation)
    {
        try
        {
            return await streams.FindAsync(node, cancellation);
        }
        catch (LedgerException unknown) when (unknown.Code == Contracts.ErrorCode.NotFound)
        {
            return null;
        }
    }

    /// <summary>Turns a list of actions down at this place.</summary>
    public static VolumeAction Refuse(string? why = null) =>
        new(Guid.Empty, new VolumeCommand.Abort(why is null ? null : Refusal.Failed(why)));

    public static VolumeAction NoNode(string node) => Refuse($"Node '{node}' not found");

    private async Task<VolumeAction> AddAsync(Arguments data, CancellationToken cancellation)
    {
        var (node, name, granularity) = (data.Text("node"), data.Text("name"), (long?)data.OptionalNatural("granularity"));
        if (name.Length == 0)
            return Refuse("Bitmap name cannot be empty");
        if (await FindAsync(node, cancellation) is not { } volume)
            return Refuse($"Cannot find device='{node}' nor node-name='{node}'");
        if (granularity is { } bytes && !Granularity.IsValid(bytes))
            return Refuse("Granularity must be power of 2 and at least 512");
        if (Encoding.UTF8.GetByteCount(name) <= NameBytesMax)
            return new(volume.Id, new VolumeCommand.AddBitmap(name, granularity, data.Boolean("disabled"), data.Boolean("persistent")));
        // Whether an image can keep it is asked before whether there can be such a one.
        return Refuse(data.Boolean("persistent")
            ? $"Can't make bitmap '{name}' persistent in '{node}': Name length exceeds maximum ({NameBytesMax} characters)"
            : $"Bitmap name too long: {name}");
    }

    private async Task<VolumeAction> BitmapAsync(string type, Arguments data, CancellationToken cancellation)
    {
        var (node, name) = (data.Text("node"), data.Text("name"));
        if (await FindAsync(node, cancellation) is not { } volume)
            return NoNode(node);
        return new(volume.Id, type switch
        {
            "block-dirty-bitmap-remove" => new VolumeCommand.RemoveBitmap(name),
            "block-dirty-bitmap-clear" => new VolumeCommand.ClearBitmap(name),
            "block-dirty-bitmap-enable" => new VolumeCommand.EnableBitmap(name),
            "block-dirty-bitmap-disable" => new VolumeCommand.DisableBitmap(name),
            "block-dirty-bitmap-set-retention" => new VolumeCommand.SetRetention(
                name, data.Number("slices"), data.OptionalText("overflow"), data.Boolean("force-cycle")),
            "block-dirty-bitmap-slice-create" => new VolumeCommand.BankSlice(name, data.Boolean("force-cycle")),
            "block-dirty-bitmap-slice-delete" => new VolumeCommand.DeleteSlice(name, data.Number("slice")),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "No such action."),
        });
    }

    private async Task<IReadOnlyList<VolumeAction>> MergeAsync(Arguments data, CancellationToken cancellation)
    {
        var (node, target) = (data.Text("node"), data.Text("target"));
        if (await FindAsync(node, cancellation) is not { } volume)
            return [NoNode(node)];
        List<BitmapRef> sources = [];
        foreach (var source in data.List("bitmaps"))
        {
            if (source is not JsonObject foreign)
            {
                sources.Add(new((string)source!));
                continue;
            }

            var from = (string)foreign["node"]!;
            // QEMU looks at the target, and at the sources before this one, first.
            if (await FindAsync(from, cancellation) is not { } other)
                return [new(volume.Id, new VolumeCommand.MergeBitmap(target, sources)), NoNode(from)];
            sources.Add(new((string)foreign["name"]!, other.Id == volume.Id ? null : other.Id));
        }

        return [new(volume.Id, new VolumeCommand.MergeBitmap(target, sources))];
    }

    private async Task<IReadOnlyList<VolumeAction>> CheckpointsAsync(
        Arguments data, VolumeCommand command, IReadOnlyList<VolumeAction> earlier, CancellationToken cancellation)
    {
        var nodes = data.Members.ContainsKey("nodes")
            ? Names(data).ToList()
            : await WithCheckpointAsync(data.Text("name"), earlier, cancellation);
        if (nodes.Count == 0)
            return [Refuse(data.Members.ContainsKey("nodes") ? "No node is named" : $"Checkpoint '{data.Text("name")}' not found")];
        List<VolumeAction> actions = [];
        foreach (var node in nodes)
            actions.Add(await FindAsync(node, cancellation) is { } volume ? new(volume.Id, command) : NoNode(node));
        return actions;
    }

    /// <summary>The nodes that have a checkpoint once the actions before are done.</summary>
    private async Task<List<string>> WithCheckpointAsync(
        string name, IReadOnlyList<VolumeAction> earlier, CancellationToken cancellation)
    {
        List<string> nodes = [];
        foreach (var volume in await streams.AllAsync(cancellation))
        {
            var last = earlier.LastOrDefault(a => a.Volume == volume.Id && a.Command switch
            {
                VolumeCommand.CreateCheckpoint create => create.Name == name,
                VolumeCommand.DeleteCheckpoint delete => delete.Name == name,
                _ => false,
            });
            if (last is null
                    ? await streams.CheckpointAsync(volume.Id, name, cancellation) is not null
                    : last.Command is VolumeCommand.CreateCheckpoint)
                nodes.Add(volume.Name);
        }

        return nodes;
    }

    private static IEnumerable<string> Names(Arguments data) =>
        data.List("nodes").Select(n => (string)n!).Distinct(StringComparer.Ordinal);
}
