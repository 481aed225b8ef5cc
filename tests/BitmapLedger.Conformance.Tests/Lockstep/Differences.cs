using System.Text.Json.Nodes;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>What <c>qmp-differences.txt</c> says.</summary>
internal sealed class Differences
{
    private readonly List<string> _nodePaths = [];
    private readonly List<string> _exportMembers = [];
    private readonly List<Answer> _answers = [];

    public Differences()
    {
        List<string> both = [];
        string? why = null, ask = null, qemu = null;
        foreach (var line in File.ReadLines(Path.Combine(
            Repository.Root, "tests", "BitmapLedger.Conformance.Tests", "Lockstep", "qmp-differences.txt")))
        {
            var words = line.Split(' ', 2, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            switch (words)
            {
                case [] or ["#", ..]:
                    break;
                case ["node", var rest] when rest.Contains(' ', StringComparison.Ordinal):
                    _nodePaths.Add(rest.Split(' ')[0]);
                    break;
                case ["export", var rest] when rest.Contains(' ', StringComparison.Ordinal):
                    _exportMembers.Add(rest.Split(' ')[0]);
                    break;
                case ["differs", var rest]:
                    (why, ask, qemu) = (rest, null, null);
                    both = [];
                    break;
                case ["both", var request] when why is not null && ask is null:
                    both.Add(request);
                    break;
                case ["ask", var request] when why is not null:
                    ask = request;
                    break;
                case ["qemu", var reply] when ask is not null:
                    qemu = reply;
                    break;
                case ["here", var reply] when qemu is not null:
                    _answers.Add(new(why!, both, ask!, qemu, reply));
                    why = ask = qemu = null;
                    break;
                default:
                    throw new InvalidDataException($"qmp-differences.txt: '{line}' is no difference with a reason.");
            }
        }
    }

    /// <summary>Members of a node that are not compared.</summary>
    public IReadOnlyList<string> NodePaths => _nodePaths;

    /// <summary>What a client is told differently of a writable export, where a server takes one client at a time.</summary>
    public IReadOnlyList<string> ExportMembers => _exportMembers;

    /// <summary>Requests that are answered differently.</summary>
    public IReadOnlyList<Answer> Answers => _answers;

    /// <summary>A node without what is not compared.</summary>
    public JsonObject Comparable(JsonNode node)
    {
        var shown = node.DeepClone().AsObject();
        foreach (var path in _nodePaths.Select(p => p.Split('.')))
        {
            var parent = shown;
            foreach (var part in path[..^1])
                parent = parent?[part] as JsonObject;
            parent?.Remove(path[^1]);
        }

        return shown;
    }

    /// <summary>A member of a node as text; null when it has none.</summary>
    public static string? Member(JsonNode node, string path) =>
        path.Split('.').Aggregate((JsonNode?)node, (parent, part) => (parent as JsonObject)?[part])?.ToJsonString();

    /// <summary>A request that is answered differently.</summary>
    /// <param name="Why">Why it is.</param>
    /// <param name="Both">What is asked before, and answered alike.</param>
    /// <param name="Ask">The request.</param>
    /// <param name="Qemu">QEMU's reply, or <c>dies</c>.</param>
    /// <param name="Here">Ours.</param>
    internal sealed record Answer(string Why, IReadOnlyList<string> Both, string Ask, string Qemu, string Here);
}
