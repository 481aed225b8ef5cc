using System.Text.Json.Nodes;

namespace BitmapLedger.Conformance.Tests.Lockstep;

/// <summary>Makes steps up, from a seed.</summary>
internal sealed class StepGenerator
{
    /// <summary>QEMU reads its commands byte by byte, so that the longest name costs it as much as a dozen others: one sequence in
    /// so many has it.</summary>
    private const int SequencesPerLongest = 8;

    private static readonly string[] _plainNames =
    [
        "b0", "b1", "b2", "é", "位图", "😀", "a/b", "quote\"'\\", "tab\tnew\nline", "\u0001\u001f\u007f", " ", "@..", "b0:x",
    ];

    private static readonly string[] _badNames = ["", "none", new('n', 1024), new string('é', 511) + "xx"];

    private static readonly long[] _granularities = [512, 512, 1024, 4096, 4096, 65_536, 65_536, 1 << 20, 1L << 31];

    private static readonly long[] _badGranularities = [0, 1, 256, 511, 513, 3000, 65_537, 1L << 32, -1, -512];

    private readonly Random _random;
    private readonly string[] _names;

    public StepGenerator(int seed)
    {
        _random = new(seed);
        _names = _random.Next(SequencesPerLongest) == 0 ? [.. _plainNames, new('n', 1023)] : _plainNames;
    }

    public List<Step> Steps(int count) => [.. Enumerable.Range(0, count).Select(_ => Next())];

    private Step Next() => _random.Next(100) switch
    {
        < 42 => new Step.Write(
            _random.Next(2), Pick("write", "write", "zero", "discard"), _random.NextDouble(),
            _random.Next(2) == 0 ? 512 * _random.Next(1, 300) : _random.Next(1, 70_000)),
        < 45 => new Step.Resize(_random.Next(2), _random.Next(2) == 0 ? 2048 : _random.Next(1, 4096)),
        < 60 => new Step.Command("transaction", Transaction()),
        < 62 => new Step.Command("transaction", Malformed()),
        _ => Command(),
    };

    private Step.Command Command()
    {
        var (name, arguments) = Action();
        return new(name, arguments);
    }

    private (string Name, JsonObject Arguments) Action() => _random.Next(12) switch
    {
        < 4 => ("block-dirty-bitmap-add", Add()),
        4 => ("block-dirty-bitmap-remove", Bitmap()),
        < 7 => ("block-dirty-bitmap-clear", Bitmap()),
        7 => ("block-dirty-bitmap-enable", Bitmap()),
        8 => ("block-dirty-bitmap-disable", Bitmap()),
        _ => ("block-dirty-bitmap-merge", Merge()),
    };

    private JsonObject Transaction()
    {
        var actions = new JsonArray();
        for (var i = _random.Next(0, 6); i > 0; i--)
        {
            var (type, data) = _random.Next(8) == 0 ? ("abort", []) : Action();
            actions.Add(new JsonObject { ["type"] = type, ["data"] = data });
        }

        var arguments = new JsonObject { ["actions"] = actions };
        if (_random.Next(10) == 0)
            arguments["properties"] = new JsonObject { ["completion-mode"] = Pick("individual", "grouped", "grouped") };
        return arguments;
    }

    private JsonObject Malformed() => _random.Next(5) switch
    {
        0 => [],
        1 => new() { ["actions"] = new JsonArray(new JsonObject { ["type"] = "bogus", ["data"] = new JsonObject() }) },
        2 => new() { ["actions"] = new JsonArray(new JsonObject { ["type"] = "block-dirty-bitmap-clear", ["data"] = new JsonObject { ["node"] = "A" } }) },
        3 => new() { ["actions"] = 5 },
        _ => new() { ["actions"] = new JsonArray(), ["z"] = true },
    };

    private JsonObject Add()
    {
        var arguments = Bitmap();
        if (_random.Next(4) > 0)
            arguments["granularity"] = _random.Next(12) == 0 ? Pick(_badGranularities) : Pick(_granularities);
        if (_random.Next(3) == 0)
            arguments["disabled"] = _random.Next(2) == 0;
        if (_random.Next(6) == 0)
            arguments["persistent"] = false;
        return arguments;
    }

    private JsonObject Bitmap() => new() { ["node"] = Node(), ["name"] = Name() };

    private JsonObject Merge()
    {
        var sources = new JsonArray();
        // Never of nothing: QEMU 7.2 crashes.
        for (var i = _random.Next(1, 4); i > 0; i--)
            sources.Add(_random.Next(2) == 0 ? Name() : new JsonObject { ["node"] = Node(), ["name"] = Name() });
        return new() { ["node"] = Node(), ["target"] = Name(), ["bitmaps"] = sources };
    }

    private string Node() => _random.Next(30) == 0 ? "nope" : Pick("A", "A", "B");

    /// <summary>Few names most of the time: commands are to meet.</summary>
    private string Name() => _random.Next(20) switch
    {
        0 => Pick(_badNames),
        < 5 => Pick(_names),
        _ => _names[_random.Next(4)],
    };

    private T Pick<T>(params IReadOnlyList<T> some) => some[_random.Next(some.Count)];
}
