using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>Two nodes in QEMU and two volumes of the same names in BitmapLedger; each step goes to both.</summary>
internal sealed class Pair : IDisposable
{
    private static readonly Differences _differences = new();

    private readonly string[] _nodes;
    private readonly long[] _sizes;
    private readonly string _directory;
    private readonly QmpLines _ours;
    private readonly QmpLines _theirs;
    private readonly string _ourSocket;
    private readonly Dictionary<int, (NbdWriter Ours, NbdWriter Theirs)> _writers = [];
    private List<JsonObject> _last = [];

    public Pair(Ledger ledger, QemuStorageDaemon qemu, string directory, string name, long size)
    {
        _nodes = [name + "a", name + "b"];
        _sizes = [size, size];
        _directory = directory;
        foreach (var node in _nodes)
            ledger.Json("volume", "create", node, "--size", $"{size}", "--durability", "process");
        _ourSocket = ledger.NbdSocket;
        _ours = new(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"));
        _theirs = new(qemu.SecondSocket);
        foreach (var node in _nodes)
        {
            var file = Path.Combine(directory, node + ".img");
            using (var image = File.Create(file))
                image.SetLength(size);
            _theirs.Execute($$$"""
                {"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"{{{node}}}","discard":"unmap",
                 "file":{"driver":"file","filename":"{{{file}}}","discard":"unmap"} } }
                """.ReplaceLineEndings(" "));
        }

        _theirs.Execute($$$"""
            {"execute":"nbd-server-start","arguments":{"addr":{"type":"unix","data":{"path":"{{{NbdSocket}}}"} } } }
            """);
        Open(0);
        Open(1);
    }

    private string NbdSocket => Path.Combine(_directory, "nbd.sock");

    /// <summary>Does a step on both sides; says how they part, or null.</summary>
    public string? Do(Step step) => step switch
    {
        Step.Command command => Command(command),
        Step.Write write => Write(write),
        Step.Resize resize => Resize(resize.Node, resize.Sectors * 512),
        _ => throw new ArgumentOutOfRangeException(nameof(step), step, "No such step."),
    } ?? Compare();

    /// <summary>Both as they were at first.</summary>
    public string? Reset(long size)
    {
        if (Compare() is { } parted)
            return parted;
        foreach (var (node, shown) in _nodes.Zip(_last))
        {
            foreach (var name in Names(shown))
            {
                var removal = new Step.Command("block-dirty-bitmap-remove", new JsonObject { ["node"] = node, ["name"] = name });
                if (Command(removal) is { } refused)
                    return refused;
            }
        }

        return (_sizes[0] == size ? null : Resize(0, size)) ?? (_sizes[1] == size ? null : Resize(1, size)) ?? Compare();
    }

    public void Dispose()
    {
        foreach (var (ours, theirs) in _writers.Values)
        {
            ours.Dispose();
            theirs.Dispose();
        }

        _ours.Dispose();
        _theirs.Dispose();
    }

    private string? Command(Step.Command command)
    {
        var request = new JsonObject { ["execute"] = command.Name, ["arguments"] = command.Arguments.DeepClone() };
        Name(request);
        var text = WireText.Write(request);
        if (_differences.Crashes(text) || EnablesUnknown(request["arguments"]!))
            return null;
        var theirs = _theirs.Ask(text)[0];
        var ours = _ours.Ask(text)[0];
        return theirs == ours ? null : $"{text}\nQEMU: {theirs}\nwe:   {ours}";
    }

    private string? Write(Step.Write write)
    {
        var (node, size) = (write.Node, _sizes[write.Node]);
        var offset = (long)(write.At * size);
        var length = (int)Math.Min(write.Length, size - offset);
        if (length == 0)
            return null;
        var (ours, theirs) = _writers[node];
        var (we, they) = (Send(ours), Send(theirs));
        return we == they ? null : $"{write.Kind} {offset}+{length} of {size}: QEMU says {they}, we say {we}";

        uint Send(NbdWriter writer) => write.Kind switch
        {
            "zero" => writer.Zero(offset, length),
            "discard" => writer.Discard(offset, length),
            _ => writer.Write(offset, length, 0x5A),
        };
    }

    private string? Resize(int node, long size)
    {
        Close(node);
        var request = $$$"""{"execute":"block_resize","arguments":{"node-name":"{{{_nodes[node]}}}","size":{{{size}}}}}""";
        var theirs = _theirs.Ask(request)[0];
        var ours = _ours.Ask(request)[0];
        if (theirs.StartsWith("{\"return\"", StringComparison.Ordinal))
            _sizes[node] = size;
        Open(node);
        return theirs == ours ? null : $"{request}\nQEMU: {theirs}\nwe:   {ours}";
    }

    private void Open(int node)
    {
        _theirs.Execute($$$"""
            {"execute":"block-export-add","arguments":{"id":"x{{{node}}}","type":"nbd","node-name":"{{{_nodes[node]}}}","writable":true}}
            """);
        _writers[node] = (new(_ourSocket, _nodes[node]), new(NbdSocket, _nodes[node]));
    }

    private void Close(int node)
    {
        _writers.Remove(node, out var writers);
        writers.Ours.Dispose();
        writers.Theirs.Dispose();
        _theirs.Execute($$$"""{"execute":"block-export-del","arguments":{"id":"x{{{node}}}","mode":"hard"}}""");
        _theirs.Await("BLOCK_EXPORT_DELETED");
    }

    /// <summary>Queries and digests of both sides.</summary>
    private string? Compare()
    {
        const string query = """{"execute":"query-named-block-nodes"}""";
        var reply = _ours.Ask(query)[0];
        if (!reply.StartsWith("{\"return\"", StringComparison.Ordinal))
            return $"{query}\nwe:   {reply}";
        _last = Nodes(_theirs.Ask(query)[0]);
        var ours = Nodes(reply);
        foreach (var (they, we) in _last.Zip(ours))
        {
            if (WireText.Write(they) is var theirText && WireText.Write(we) is var ourText && theirText != ourText)
                return $"QEMU: {theirText}\nwe:   {ourText}";
        }

        string[] digests = [.. _nodes.Zip(_last).SelectMany(n => Names(n.Second).Select(name => WireText.Write(new JsonObject
        {
            ["execute"] = "x-debug-block-dirty-bitmap-sha256",
            ["arguments"] = new JsonObject { ["node"] = n.First, ["name"] = name },
        })))];
        if (digests.Length == 0)
            return null;
        foreach (var (request, (they, we)) in digests.Zip(_theirs.Ask(digests).Zip(_ours.Ask(digests))))
            if (they != we)
                return $"{request}\nQEMU: {they}\nwe:   {we}";
        return null;
    }

    private List<JsonObject> Nodes(string reply)
    {
        var all = JsonNode.Parse(reply)!["return"]!.AsArray();
        return [.. _nodes.Select(n => _differences.Comparable(all.Single(a => (string?)a!["node-name"] == n)!))];
    }

    private static List<string> Names(JsonObject node) =>
        [.. (node["dirty-bitmaps"] as JsonArray ?? []).Select(b => (string)b!["name"]!)];

    /// <summary>QEMU 7.2 crashes when a transaction cannot enable a bitmap.</summary>
    private bool EnablesUnknown(JsonNode arguments)
    {
        if (arguments["actions"] is not JsonArray actions)
            return false;
        var grouped = (string?)arguments["properties"]?["completion-mode"] == "grouped";
        for (var i = 0; i < actions.Count; i++)
        {
            if ((string?)actions[i]?["type"] != "block-dirty-bitmap-enable")
                continue;
            var data = actions[i]!["data"]!;
            var node = Array.IndexOf(_nodes, (string?)data["node"]);
            var name = (string?)data["name"];
            var isTouched = actions.Take(i).Any(a => (string?)a?["type"] == "block-dirty-bitmap-remove" && (string?)a["data"]?["name"] == name);
            if (grouped || node < 0 || isTouched || !Names(_last[node]).Contains(name!))
                return true;
        }

        return false;
    }

    private void Name(JsonNode? value)
    {
        if (value is JsonArray elements)
        {
            foreach (var element in elements)
                Name(element);
        }
        else if (value is JsonObject members)
        {
            foreach (var (key, inner) in members.ToList())
            {
                if (key == "node" && inner is JsonValue node && node.TryGetValue<string>(out var text) && text is "A" or "B")
                    members[key] = _nodes[(string)inner! == "A" ? 0 : 1];
                else
                    Name(inner);
            }
        }
    }
}
