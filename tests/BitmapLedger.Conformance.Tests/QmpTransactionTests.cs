using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>Slices, retention and checkpoints as actions of <c>transaction</c> (spec/qmp.md).</summary>
public sealed class QmpTransactionTests(SharedLedger shared) : IClassFixture<SharedLedger>, IAsyncLifetime
{
    private static readonly CancellationToken _never = CancellationToken.None;
    private readonly Ledger _ledger = shared.Empty();
    private QmpClient _qmp = null!;

    public static TheoryData<string, string> Extensions => new()
    {
        { "block-dirty-bitmap-set-retention", """{"node":"v","name":"b0","slices":7,"overflow":"cycle"}""" },
        { "block-dirty-bitmap-slice-create", """{"node":"v","name":"b0"}""" },
        { "block-dirty-bitmap-slice-delete", """{"node":"v","name":"b0","slice":0}""" },
        { "block-checkpoint-add", """{"name":"new","nodes":["v","w"]}""" },
        { "block-checkpoint-remove", """{"name":"old"}""" },
    };

    public async ValueTask InitializeAsync()
    {
        _qmp = await QmpClient.ConnectAsync(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"), [], _never);
        foreach (var node in (string[])["v", "w"])
        {
            _ledger.Json("volume", "create", node, "--size", "1M");
            foreach (var bitmap in (string[])["b0", "b1"])
            {
                await TransactAsync(Action("block-dirty-bitmap-add", Bitmap(node, bitmap)));
                await TransactAsync(Action("block-dirty-bitmap-set-retention", Bitmap(node, bitmap, ("slices", 2))));
            }

            using var disk = new NbdWriter(_ledger.NbdSocket, node);
            Assert.Equal(0u, disk.Write(0, 4096, 1));
            await TransactAsync(Action("block-dirty-bitmap-slice-create", Bitmap(node, "b0")));
        }

        await TransactAsync(Action("block-checkpoint-add", new() { ["name"] = "old", ["nodes"] = new JsonArray("v", "w") }));
    }

    public ValueTask DisposeAsync() => _qmp.DisposeAsync();

    [Fact]
    public async Task A_transaction_that_banks_one_slice_answers_as_the_command_and_one_that_banks_several_says_of_which_node_each_is()
    {
        var one = await TransactAsync(
            Action("block-dirty-bitmap-clear", Bitmap("w", "b1")), Action("block-dirty-bitmap-slice-create", Bitmap("w", "b1")));
        var several = await TransactAsync(
            Action("block-dirty-bitmap-slice-create", Bitmap("w", "b0")),
            Action("block-dirty-bitmap-slice-create", Bitmap("v", "b0")),
            Action("block-dirty-bitmap-slice-create", Bitmap("v", "b1")),
            Action("block-dirty-bitmap-slice-create", Bitmap("v", "b0", ("force-cycle", true))));
        var dropped = await TransactAsync(
            Action("block-dirty-bitmap-slice-create", Bitmap("v", "b1")),
            Action("block-dirty-bitmap-set-retention", Bitmap("w", "b0", ("slices", 1), ("force-cycle", true))));
        var none = await TransactAsync(Action("block-dirty-bitmap-set-retention", Bitmap("w", "b0", ("slices", 4))));

        Assert.Equal("""{"dropped-slices":[],"slice":0}""", one);
        Assert.Equal(
            """
            {"dropped-slices":[{"name":"b0","node":"v","slice":0}],"slices":[{"name":"b0","node":"w","slice":1},
            {"name":"b0","node":"v","slice":1},{"name":"b1","node":"v","slice":0},{"name":"b0","node":"v","slice":2}]}
            """.ReplaceLineEndings(""),
            several);
        Assert.Equal(
            """{"dropped-slices":[{"name":"b0","node":"w","slice":0}],"slices":[{"name":"b1","node":"v","slice":1}]}""", dropped);
        Assert.Equal("{}", none);
    }

    [Theory]
    [MemberData(nameof(Extensions))]
    public async Task A_slice_retention_or_checkpoint_command_is_done_in_a_transaction_and_taken_back_when_a_later_action_fails(
        string command, string arguments)
    {
        var action = Action(command, JsonNode.Parse(arguments)!.AsObject());
        var before = await SeenAsync();
        var events = Events();

        var failed = await RefusalAsync(action, Action("block-dirty-bitmap-clear", Bitmap("w", "nope")));
        var aborted = await RefusalAsync(action, Action("abort", []));
        var grouped = await RefusalAsync("grouped", action);
        var nothing = await SeenAsync();
        var still = Events();
        await TransactAsync(Action("block-dirty-bitmap-disable", Bitmap("w", "b1")), action);

        Assert.Equal(
            ("Dirty bitmap 'nope' not found", "Transaction aborted using Abort action",
                $"Action '{command}' does not support Transaction property completion-mode = grouped"),
            (failed, aborted, grouped));
        Assert.Equal((before, events), (nothing, still));
        Assert.NotEqual(before, await SeenAsync());
    }

    [Theory]
    [InlineData("old", "Checkpoint 'old' of volume 'w' already exists")]
    [InlineData("new", "Node 'nope' not found")]
    public async Task A_checkpoint_of_several_nodes_of_which_one_refuses_leaves_no_trace_on_the_others(string name, string why)
    {
        await TransactAsync(Action("block-checkpoint-remove", new() { ["name"] = "old", ["nodes"] = new JsonArray("v") }));
        var (before, events) = (await SeenAsync(), Events());
        JsonObject add = new() { ["name"] = name, ["nodes"] = name == "old" ? new JsonArray("v", "w") : new JsonArray("v", "w", "nope") };

        var alone = (await Assert.ThrowsAsync<QmpException>(() => _qmp.ExecuteAsync("block-checkpoint-add", Copy(add), _never))).Description;
        var among = await RefusalAsync(Action("block-dirty-bitmap-clear", Bitmap("v", "b0")), Action("block-checkpoint-add", add));
        var after = (await SeenAsync(), Events());
        add["nodes"] = new JsonArray("v");
        await _qmp.ExecuteAsync("block-checkpoint-add", add, _never);

        Assert.Equal((why, why), (alone, among));
        Assert.Equal((before, events), after);
    }

    /// <summary>Everything that the commands change: bitmaps, their retention and slices, and checkpoints.</summary>
    private async Task<string> SeenAsync()
    {
        List<string> seen = [(await _qmp.ExecuteAsync("query-block-checkpoints", arguments: null, _never))!.ToJsonString()];
        foreach (var node in (string[])["v", "w"])
        {
            seen.Add(_ledger.Json("volume", "show", node).GetProperty("bitmaps").GetRawText());
            foreach (var bitmap in (string[])["b0", "b1"])
                seen.Add((await _qmp.ExecuteAsync("query-block-dirty-bitmap-slices", Bitmap(node, bitmap), _never))!.ToJsonString());
        }

        return string.Join('\n', seen);
    }

    /// <summary>How many events each volume has.</summary>
    private string Events() => string.Join(
        ' ', ((string[])["v", "w"]).Select(v => _ledger.Json("history", v).GetProperty("events").GetArrayLength()));

    /// <summary>What a transaction returned, its members in order.</summary>
    private async Task<string> TransactAsync(params JsonObject[] actions) => Sorted(await _qmp.ExecuteAsync(
        "transaction", new JsonObject { ["actions"] = new JsonArray([.. actions.Select(Copy)]) }, _never));

    private Task<string> RefusalAsync(params JsonObject[] actions) => RefusalAsync("individual", actions);

    private async Task<string> RefusalAsync(string mode, params JsonObject[] actions)
    {
        JsonObject arguments = new()
        {
            ["actions"] = new JsonArray([.. actions.Select(Copy)]),
            ["properties"] = new JsonObject { ["completion-mode"] = mode },
        };
        return (await Assert.ThrowsAsync<QmpException>(() => _qmp.ExecuteAsync("transaction", arguments, _never))).Description;
    }

    private static string Sorted(JsonNode? value) => Ordered(value)!.ToJsonString();

    private static JsonNode? Ordered(JsonNode? value) => value switch
    {
        JsonObject members => new JsonObject(
            members.OrderBy(m => m.Key, StringComparer.Ordinal).Select(m => KeyValuePair.Create(m.Key, Ordered(m.Value)))),
        JsonArray elements => new JsonArray([.. elements.Select(Ordered)]),
        _ => value?.DeepClone(),
    };

    private static JsonObject Copy(JsonObject value) => value.DeepClone().AsObject();

    private static JsonObject Action(string type, JsonObject data) => new() { ["type"] = type, ["data"] = Copy(data) };

    private static JsonObject Bitmap(string node, string name, params IEnumerable<(string Key, JsonNode Value)> more)
    {
        var arguments = new JsonObject { ["node"] = node, ["name"] = name };
        foreach (var (key, value) in more)
            arguments[key] = value;
        return arguments;
    }
}
