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

    /// <summary>Does steps on both sides, commands that stand together in one go: each reply is compared, and behind the last
    /// step flags, counts and digests. Says how they part, or null.</summary>
    /// <param name="steps">The steps.</param>
    /// <param name="whole">Whether the digests of all bitmaps are compared, and not only of those that the steps may have
    /// changed. Flags and counts of all are, in any case.</param>
    public string? Do(IReadOnlyList<Step> steps, bool whole)
    {
        List<string> requests = [];
        List<(int Node, string Name)> touched = [];
        foreach (var step in steps)
        {
            if ((step is Step.Command command ? Add(command, requests, touched) : Change(step, requests, touched)) is { } parted)
                return parted;
        }

        return Compare(requests, whole ? Everything().Concat(touched) : touched);
    }

    /// <summary>Both as they were at first.</summary>
    public string? Reset(long size)
    {
        if (Compare([], Everything()) is { } parted)
            return parted;
        JsonArray removals = new([.. Everything().Select(b => new JsonObject
        {
            ["type"] = "block-dirty-bitmap-remove",
            ["data"] = new JsonObject { ["node"] = _nodes[b.Node], ["name"] = b.Name },
        })]);
        var removal = WireText.Write(new JsonObject
        {
            ["execute"] = "transaction",
            ["arguments"] = new JsonObject { ["actions"] = removals },
        });
        return (removals.Count == 0 ? null : Compare([removal], []))
            ?? (_sizes[0] == size ? null : Resize(0, size)) ?? (_sizes[1] == size ? null : Resize(1, size));
    }

    /// <summary>Takes the nodes off both sides, for another pair to come.</summary>
    public void Remove(Ledger ledger)
    {
        foreach (var (node, number) in _nodes.Select((n, i) => (n, i)))
        {
            Close(number);
            ledger.Json("volume", "remove", node);
            _theirs.Execute($$$"""{"execute":"blockdev-del","arguments":{"node-name":"{{{node}}}"}}""");
        }

        _theirs.Execute("""{"execute":"nbd-server-stop"}""");
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

    /// <summary>Puts a command behind those that are yet to be sent.</summary>
    private string? Add(Step.Command command, List<string> requests, List<(int Node, string Name)> touched)
    {
        var request = new JsonObject { ["execute"] = command.Name, ["arguments"] = command.Arguments.DeepClone() };
        var named = Name(request).ToList();
        var text = WireText.Write(request);
        if (Enables(request["arguments"]!))
        {
            // Whether QEMU gets through this depends on what is there.
            if (Compare(requests, []) is { } parted)
                return parted;
            requests.Clear();
            if (EnablesUnknown(request["arguments"]!))
                return null;
        }

        requests.Add(text);
        touched.AddRange(named);
        return null;
    }

    /// <summary>Writes or resizes, behind the commands that came before.</summary>
    private string? Change(Step step, List<string> requests, List<(int Node, string Name)> touched)
    {
        if (Answer(requests) is { } parted)
            return parted;
        requests.Clear();
        if (step is Step.Resize resize)
            return Resize(resize.Node, resize.Sectors * 512);
        var write = (Step.Write)step;
        touched.AddRange(Everything().Where(b => b.Node == write.Node));
        return Write(write);
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
        var parted = Compare(
            [$$$"""{"execute":"block_resize","arguments":{"node-name":"{{{_nodes[node]}}}","size":{{{size}}}}}"""], Everything());
        Open(node);
        return parted;
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

    /// <summary>Sends requests to both sides in one go; says how the replies part.</summary>
    private string? Answer(List<string> requests)
    {
        var (theirs, ours) = Ask(requests);
        return Parting(requests, theirs, ours);
    }

    private (string[] Theirs, string[] Ours) Ask(IReadOnlyList<string> requests)
    {
        if (requests.Count == 0)
            return ([], []);
        _ours.Send(requests);
        _theirs.Send(requests);
        return (_theirs.Receive(requests.Count), _ours.Receive(requests.Count));
    }

    private static string? Parting(IReadOnlyList<string> requests, string[] theirs, string[] ours)
    {
        var parts = Enumerable.Range(0, requests.Count).FirstOrDefault(i => theirs[i] != ours[i], -1);
        return parts < 0 ? null : $"{requests[parts]}\nQEMU: {theirs[parts]}\nwe:   {ours[parts]}";
    }

    /// <summary>Sends requests to both sides, and behind them the query and digests, all in one go; says how they part.</summary>
    private string? Compare(List<string> requests, IEnumerable<(int Node, string Name)> digests)
    {
        const string query = """{"execute":"query-named-block-nodes"}""";
        string[] batch = [.. requests, query, .. digests.Distinct().Select(b => WireText.Write(new JsonObject
        {
            ["execute"] = "x-debug-block-dirty-bitmap-sha256",
            ["arguments"] = new JsonObject { ["node"] = _nodes[b.Node], ["name"] = b.Name },
        }))];
        var (theirs, ours) = Ask(batch);
        var asked = requests.Count;
        if (!ours[asked].StartsWith("{\"return\"", StringComparison.Ordinal))
            return $"{query}\nwe:   {ours[asked]}";
        _last = Nodes(theirs[asked]);
        for (var node = 0; node < _nodes.Length; node++)
            _sizes[node] = (long)_last[node]["image"]!["virtual-size"]!;
        (theirs[asked], ours[asked]) = (Shown(_last), Shown(Nodes(ours[asked])));
        return Parting(batch, theirs, ours);
    }

    private static string Shown(List<JsonObject> nodes) => string.Join('\n', nodes.Select(n => WireText.Write(n)));

    /// <summary>Every bitmap that was there at the last comparison.</summary>
    private IEnumerable<(int Node, string Name)> Everything() => _last.SelectMany((n, i) => Names(n).Select(name => (i, name)));

    private List<JsonObject> Nodes(string reply)
    {
        var all = JsonNode.Parse(reply)!["return"]!.AsArray();
        return [.. _nodes.Select(n => _differences.Comparable(all.Single(a => (string?)a!["node-name"] == n)!))];
    }

    private static List<string> Names(JsonObject node) =>
        [.. (node["dirty-bitmaps"] as JsonArray ?? []).Select(b => (string)b!["name"]!)];

    private static bool Enables(JsonNode arguments) =>
        arguments["actions"] is JsonArray actions && actions.Any(a => (string?)a?["type"] == "block-dirty-bitmap-enable");

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

    /// <summary>Puts the names of the nodes in, and says which bitmaps are named.</summary>
    private IEnumerable<(int Node, string Name)> Name(JsonNode? value)
    {
        if (value is JsonArray elements)
            return elements.SelectMany(Name).ToList();
        if (value is not JsonObject members)
            return [];
        List<(int Node, string Name)> named = [];
        if (Text(members["node"]) is "A" or "B")
        {
            var node = Text(members["node"]) == "A" ? 0 : 1;
            members["node"] = _nodes[node];
            named.AddRange(new[] { Text(members["name"]), Text(members["target"]) }.OfType<string>().Select(n => (node, n)));
        }

        foreach (var (_, inner) in members.ToList())
            named.AddRange(Name(inner));
        return named;

        static string? Text(JsonNode? member) => member is JsonValue text && text.TryGetValue<string>(out var found) ? found : null;
    }
}
