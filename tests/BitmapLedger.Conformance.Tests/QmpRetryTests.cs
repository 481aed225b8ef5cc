using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>Command ids on commands that are no commands to a volume, and events of what commands did (spec/qmp.md).</summary>
public sealed class QmpRetryTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    private static readonly CancellationToken _never = CancellationToken.None;

    [Fact]
    public async Task A_command_id_stands_for_exports_and_questions_too()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        var socket = Path.Combine(ledger.DataDirectory, "x.sock");
        JsonObject start = new()
        {
            ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = socket } },
        };
        JsonObject add = new() { ["type"] = "nbd", ["id"] = "e", ["node-name"] = "v" };

        for (var i = 0; i < 2; i++)
        {
            await qmp.SendAsync(WithId("start", "nbd-server-start", start), _never);
            await qmp.SendAsync(WithId("add", "block-export-add", add), _never);
        }

        var exports = await qmp.SendAsync(WithId("ask", "query-block-exports", []), _never);
        await qmp.SendAsync(WithId("del", "block-export-del", new JsonObject { ["id"] = "e" }), _never);
        var again = await qmp.SendAsync(WithId("ask", "query-block-exports", []), _never);

        Assert.Equal("e", (string?)exports!.AsArray().Single()!["id"]);
        Assert.Equal(exports.ToJsonString(), again!.ToJsonString());
        Assert.Empty((await qmp.ExecuteAsync("query-block-exports", arguments: null, _never))!.AsArray());
        Assert.Equal(exports.ToJsonString(), (await LookUpAsync("ask"))!["reply"]!.ToJsonString());
        Assert.Equal("{}", (await LookUpAsync("add"))!["reply"]!.ToJsonString());
        var other = await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(WithId("ask", "query-name", []), _never));
        Assert.Contains("was used for another command", other.Description, StringComparison.Ordinal);

        Task<JsonNode?> LookUpAsync(string id) => qmp.ExecuteAsync("query-command", new JsonObject { ["command-id"] = id }, _never);
    }

    [Fact]
    public async Task A_refused_export_is_refused_again_though_it_could_be_made_now()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        JsonObject add = new() { ["type"] = "nbd", ["id"] = "e", ["node-name"] = "late" };

        var first = await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(WithId("late", "block-export-add", add), _never));
        ledger.Json("volume", "create", "late", "--size", "1M");
        var second = await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(WithId("late", "block-export-add", add), _never));

        Assert.Equal("Cannot find device='' nor node-name='late'", first.Description);
        Assert.Equal(first.Description, second.Description);
    }

    [Fact]
    public async Task A_slice_that_was_dropped_is_told_once_whoever_dropped_it()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Json("retention", "set", "v", "b0", "--slices", "1");
        await using var qmp = await ConnectAsync(ledger);
        JsonObject bank = new() { ["node"] = "v", ["name"] = "b0", ["force-cycle"] = true };

        for (var i = 0; i < 3; i++)
            ledger.Json("slice", "bank", "v", "b0", "--force-cycle");
        for (var i = 0; i < 2; i++)
            await qmp.SendAsync(WithId("bank", "block-dirty-bitmap-slice-create", bank), _never);
        ledger.Json("slice", "bank", "v", "b0", "--force-cycle");

        List<string> told = [];
        await foreach (var happened in qmp.Events)
        {
            told.Add($"{happened.Name} {happened.Data!["node"]} {happened.Data["dropped-slices"]!.ToJsonString()}");
            if (told.Count == 4)
                break;
        }

        string[] expected = [.. Enumerable.Range(0, 4).Select(n => $$"""SLICES_DROPPED v [{"b0":{{n}}}]""")];
        Assert.Equal(expected, told);
    }

    private static Task<QmpClient> ConnectAsync(Ledger ledger) => QmpClient.ConnectAsync(
        ledger.ReadyLine.Split(' ').Single(w => w.StartsWith("qmp=", StringComparison.Ordinal))["qmp=".Length..], [], _never);

    private static JsonObject WithId(string id, string command, JsonObject arguments) =>
        new() { ["execute"] = command, ["arguments"] = arguments.DeepClone(), ["command-id"] = id };
}
