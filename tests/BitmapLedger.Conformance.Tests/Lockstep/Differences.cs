using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>What <c>qmp-differences.txt</c> says.</summary>
internal sealed class Differences
{
    private readonly List<string[]> _nodePaths = [];
    private readonly List<Regex> _never = [];

    public Differences()
    {
        foreach (var line in File.ReadLines(Path.Combine(
            Repository.Root, "tests", "BitmapLedger.Conformance.Tests", "Lockstep", "qmp-differences.txt")))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is ["node", var path, _, ..])
                _nodePaths.Add(path.Split('.'));
            else if (words is ["never", var pattern, _, ..])
                _never.Add(new(pattern, RegexOptions.None, TimeSpan.FromSeconds(1)));
            else if (words.Length > 0 && words[0] != "#")
                throw new InvalidDataException($"qmp-differences.txt: '{line}' is no difference with a reason.");
        }
    }

    /// <summary>A node without what is not compared.</summary>
    public JsonObject Comparable(JsonNode node)
    {
        var shown = node.DeepClone().AsObject();
        foreach (var path in _nodePaths)
        {
            var parent = shown;
            foreach (var part in path[..^1])
                parent = parent?[part] as JsonObject;
            parent?.Remove(path[^1]);
        }

        return shown;
    }

    /// <summary>Whether QEMU must not see a request.</summary>
    public bool Crashes(string request) => _never.Exists(p => p.IsMatch(request));
}
