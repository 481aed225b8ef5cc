using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Schema;
using BitmapLedger.Qmp.Serving;

namespace BitmapLedger.Server.Qmp;

/// <summary>
/// NBD server and block exports, as QEMU has them. The Agent keeps them, so that they outlive this process; here is only
/// what QEMU checks, in its order. Commands that change them come one at a time.
/// </summary>
internal sealed class QmpExports(
    QmpLedger ledger, QmpActions actions, VolumeStreams streams, SettledLanes lanes, IAgent agent) : IDisposable
{
    /// <summary>Most bytes of a name or description, as NBD has it.</summary>
    private const int TextBytesMax = 4096;

    private readonly SemaphoreSlim _turn = new(1);

    /// <summary>Told of each export that ended.</summary>
    public Action<string> OnDeleted { get; set; } = _ => { };

    public void Dispose() => _turn.Dispose();

    /// <summary><c>nbd-server-start</c>.</summary>
    public Task<JsonNode?> StartAsync(QmpRequest request, CancellationToken cancellation) => ChangeAsync(request, async (there, mark) =>
    {
        if (there.Listener is not null)
            throw new QmpException("NBD server already running");
        var start = Start(request.Arguments.Nested("addr"), (long)(request.Arguments.OptionalNatural("max-connections") ?? 0));
        if (request.Arguments.OptionalText("tls-creds") is { } credentials)
            throw new QmpException($"No TLS credentials with id '{credentials}'");
        await agent.AskAsync(start with { Mark = mark }, cancellation);
    }, cancellation);

    /// <summary><c>nbd-server-stop</c>.</summary>
    public Task<JsonNode?> StopAsync(QmpRequest request, CancellationToken cancellation) => ChangeAsync(request, async (_, mark) =>
    {
        foreach (var ended in ((ExportList)await agent.AskAsync(new StopNbdServer { Mark = mark }, cancellation)).Exports)
            OnDeleted(ended.Id);
    }, cancellation);

    /// <summary><c>block-export-add</c>.</summary>
    public Task<JsonNode?> AddAsync(QmpRequest request, CancellationToken cancellation) => ChangeAsync(
        request, (there, mark) => ledger.AskAsync(async away =>
        {
            await TryAddAsync(request.Arguments, there, mark, away);
            return null;
        }, cancellation), cancellation);

    /// <summary><c>block-export-del</c>.</summary>
    public Task<JsonNode?> RemoveAsync(QmpRequest request, CancellationToken cancellation) => ChangeAsync(request, async (_, mark) =>
    {
        var id = request.Arguments.Text("id");
        await agent.AskAsync(new RemoveExport(id, request.Arguments.OptionalText("mode") == "hard") { Mark = mark }, cancellation);
        OnDeleted(id);
    }, cancellation);

    /// <summary><c>query-block-exports</c>.</summary>
    public Task<JsonNode?> ListAsync(QmpRequest request, CancellationToken cancellation) =>
        ledger.AskAsync(async away =>
        {
            var names = (await streams.AllAsync(away)).ToDictionary(v => v.Id, v => v.Name);
            return new JsonArray([.. (await agent.ExportsAsync(away)).Exports.Reverse().Select(e => new JsonObject
            {
                ["node-name"] = names[e.Volume],
                ["shutting-down"] = false,
                ["type"] = "nbd",
                ["id"] = e.Id,
            })]);
        }, cancellation);

    /// <summary>Changes something, unless the Agent has done so under the same command id: then the server was killed before it could
    /// record that.</summary>
    private async Task<JsonNode?> ChangeAsync(
        QmpRequest request, Func<ExportList, CommandMark?, Task> act, CancellationToken cancellation)
    {
        await _turn.WaitAsync(cancellation);
        try
        {
            var there = await agent.ExportsAsync(cancellation);
            var mark = MarkOf(request);
            if (there.Marks.FirstOrDefault(m => m.Id == mark?.Id) is not { } done)
                await act(there, mark);
            else if (done != mark)
                throw CommandRecord.IsOfAnother(done.Id);
            return null;
        }
        catch (BitmapLedgerException refusal)
        {
            throw new QmpException(refusal.Message, refusal);
        }
        finally
        {
            _turn.Release();
        }
    }

    private static CommandMark? MarkOf(QmpRequest request) => request.CommandId is { } id
        ? new(id, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(QmpLedger.Fingerprint(request)))))
        : null;

    private async Task TryAddAsync(Arguments asked, ExportList there, CommandMark? mark, CancellationToken cancellation)
    {
        var (id, node) = (asked.Text("id"), asked.Text("node-name"));
        if (!IsWellFormed(id))
            throw new QmpException("Invalid block export id");
        if (there.Exports.Any(e => e.Id == id))
            throw new QmpException($"Block export id '{id}' is already in use");
        if (await actions.FindAsync(node, cancellation) is not { } volume)
            throw new QmpException($"Cannot find device='' nor node-name='{node}'");
        if (asked.Boolean("writable") && volume.ReadOnly)
            throw new QmpException("Cannot export read-only node as writable");
        if (asked.OptionalText("iothread") is { } thread)
            throw new QmpException($"iothread \"{thread}\" not found");
        var (name, description) = (asked.OptionalText("name") ?? node, asked.OptionalText("description"));
        if (there.Listener is null)
            throw new QmpException("NBD server not running");
        if (Encoding.UTF8.GetByteCount(name) > TextBytesMax)
            throw new QmpException($"export name '{name}' too long");
        if (Encoding.UTF8.GetByteCount(description ?? "") > TextBytesMax)
            throw new QmpException($"description '{description}' too long");
        if (there.Exports.Any(e => e.Name == name))
            throw new QmpException($"NBD server already has export named '{name}'");

        var volumes = await VolumesAsync(volume, asked.List("bitmaps"), cancellation);
        // No command changes a bitmap between these checks and its being in use.
        using var _ = await lanes.TakeAsync([.. volumes.Values.Select(v => v.Id).Distinct()], cancellation);
        foreach (var (of, state) in volumes.ToList())
            volumes[of] = await streams.LoadAsync(state.Id, cancellation) ?? state;
        var bitmaps = asked.List("bitmaps").Select(b => Choose(b!, node, asked.Boolean("writable"), volumes, there)).ToList();
        await agent.AskAsync(
            new AddExport(new(
                id, volume.Id, name, description, asked.Boolean("writable"), asked.Boolean("writethrough"),
                asked.Boolean("allocation-depth"), bitmaps))
            {
                Mark = mark,
            }, cancellation);
    }

    /// <summary>The volume of each node that is named and there is.</summary>
    private async Task<Dictionary<string, VolumeState>> VolumesAsync(
        VolumeState volume, IReadOnlyList<JsonNode?> bitmaps, CancellationToken cancellation)
    {
        Dictionary<string, VolumeState> volumes = new(StringComparer.Ordinal) { [volume.Name] = volume };
        foreach (var node in bitmaps.OfType<JsonObject>().Select(b => (string)b["node"]!))
            if (await actions.FindAsync(node, cancellation) is { } found)
                volumes[node] = found;
        return volumes;
    }

    private static ExportedBitmap Choose(
        JsonNode asked, string node, bool isWritable, Dictionary<string, VolumeState> volumes, ExportList there)
    {
        var foreign = asked as JsonObject;
        var name = foreign is null ? (string)asked! : (string)foreign["name"]!;
        if (foreign is not null)
            node = (string)foreign["node"]!;
        if (!volumes.TryGetValue(node, out var volume))
            throw new QmpException($"Node '{node}' not found");
        if (volume.Bitmap(name) is not { } bitmap)
            throw new QmpException(foreign is null ? $"Bitmap '{name}' is not found" : $"Dirty bitmap '{name}' not found");
        if (foreign is null && !isWritable && !volume.ReadOnly && bitmap is { Recording: true, Inconsistent: false })
            throw new QmpException($"Enabled bitmap '{name}' incompatible with readonly export");
        if (bitmap.Busy || there.Shown(volume.Id).Contains(name))
            throw Busy($"Bitmap '{name}' is currently in use by another operation and cannot be used");
        if (bitmap.Inconsistent)
            throw new QmpException($"Bitmap '{name}' is inconsistent and cannot be used");
        return new(volume.Id, name);
    }

    /// <summary>A refusal that goes by waiting, so that no command id keeps it.</summary>
    private static QmpException Busy(string why) => new(why, new LedgerException(ErrorCode.Busy, why));

    /// <summary>QEMU's rule for ids: a letter, then letters, digits and <c>-._</c>.</summary>
    private static bool IsWellFormed(string id) =>
        id.Length > 0 && char.IsAsciiLetter(id[0]) && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_');

    private static StartNbdServer Start(Arguments address, long connectionsMax)
    {
        var data = address.Nested("data");
        if (address.Text("type") == "unix")
            return data.Boolean("abstract")
                ? throw new QmpException("Abstract socket names are not supported; give 'path' the name of a file")
                : new(Path.GetFullPath(data.Text("path")), Host: null, Port: 0, connectionsMax);
        foreach (var more in (string[])["to", "ipv4", "ipv6", "keep-alive", "mptcp"])
            if (data.Members.ContainsKey(more))
                throw new QmpException($"Parameter '{more}' of an NBD server is not supported; leave it out");
        var (host, port) = (data.Text("host"), data.Text("port"));
        return ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new(Socket: null, host, number, connectionsMax)
            : throw new QmpException($"address resolution failed for {host}:{port}: Servname not supported for ai_socktype");
    }
}
