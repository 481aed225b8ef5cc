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
        await qmp.ExecuteAsync("nbd-server-stop", arguments: null, _never);

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
    public async Task A_question_about_the_server_and_arguments_that_do_not_fit_take_their_command_ids_too()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        JsonObject nameless = new() { ["node"] = "v" };
        JsonObject whole = new() { ["node"] = "v", ["name"] = "b0" };

        var version = await qmp.SendAsync(WithId("version", "query-version", []), _never);
        var commands = await RefusalAsync("version", "query-commands", []);
        var missing = await RefusalAsync("misfit", "block-dirty-bitmap-add", nameless);
        var again = await RefusalAsync("misfit", "block-dirty-bitmap-add", nameless);
        var other = await RefusalAsync("misfit", "block-dirty-bitmap-add", whole);
        var state = await qmp.SendAsync(WithId("state", "query-command", new() { ["command-id"] = "misfit" }), _never);

        Assert.True(JsonNode.DeepEquals(version, await qmp.SendAsync(WithId("version", "query-version", []), _never)));
        Assert.Equal("Command id 'version' was used for another command", commands);
        Assert.Equal(
            ("Parameter 'name' is missing", "Parameter 'name' is missing", "Command id 'misfit' was used for another command"),
            (missing, again, other));
        Assert.Equal(("failed", missing), ((string)state!["state"]!, (string)state["reply"]!["desc"]!));
        Assert.True(JsonNode.DeepEquals(
            state, await qmp.SendAsync(WithId("state", "query-command", new() { ["command-id"] = "misfit" }), _never)));
        for (var i = 0; i < 2; i++)
            Assert.Equal("Parameter 'a\0' is unexpected", await RefusalAsync("zero", "query-name", new() { ["a\0"] = 1 }));

        async Task<string> RefusalAsync(string id, string command, JsonObject arguments) =>
            (await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(WithId(id, command, arguments), _never))).Description;
    }

    // It goes by waiting, and then the same id is to do what it was meant to do.
    [Fact]
    public async Task An_export_of_a_bitmap_that_is_in_use_is_tried_again_under_the_same_id()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        ledger.Json("bitmap", "add", "v", "b0");
        await using var qmp = await ConnectAsync(ledger);
        await StartServerAsync(qmp, ledger);
        await qmp.SendAsync(WithId("first", "block-export-add", Export("first")), _never);

        var busy = await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(WithId("next", "block-export-add", Export("next")), _never));
        await qmp.ExecuteAsync("block-export-del", new JsonObject { ["id"] = "first" }, _never);
        await qmp.SendAsync(WithId("next", "block-export-add", Export("next")), _never);

        Assert.Equal("Bitmap 'b0' is currently in use by another operation and cannot be used", busy.Description);
        var exports = await qmp.ExecuteAsync("query-block-exports", arguments: null, _never);
        Assert.Equal("next", (string?)exports!.AsArray().Single()!["id"]);
        await qmp.ExecuteAsync("nbd-server-stop", arguments: null, _never);

        JsonObject Export(string id) => new()
        {
            ["type"] = "nbd",
            ["id"] = id,
            ["node-name"] = "v",
            ["name"] = id,
            ["writable"] = true,
            ["bitmaps"] = new JsonArray("b0"),
        };
    }

    [Fact]
    public async Task Many_that_say_the_same_id_at_once_have_it_done_once_and_hear_the_same()
    {
        const int clients = 6;
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        ledger.Json("bitmap", "add", "v", "b0");
        ledger.Json("retention", "set", "v", "b0", "--slices", "1");
        ledger.Json("slice", "bank", "v", "b0");
        List<QmpClient> all = [];
        for (var i = 0; i < clients; i++)
            all.Add(await ConnectAsync(ledger));
        await StartServerAsync(all[0], ledger);
        JsonObject export = new() { ["type"] = "nbd", ["id"] = "e", ["node-name"] = "v" };
        JsonObject bank = new() { ["node"] = "v", ["name"] = "b0", ["force-cycle"] = true };

        var exported = await Task.WhenAll(all.Select(c => c.SendAsync(WithId("same export", "block-export-add", export), _never)));
        var banked = await Task.WhenAll(all.Select(c => c.SendAsync(WithId("same bank", "block-dirty-bitmap-slice-create", bank), _never)));
        ledger.Json("slice", "bank", "v", "b0", "--force-cycle");

        Assert.All(exported, reply => Assert.Equal("{}", reply!.ToJsonString()));
        Assert.All(banked, reply => Assert.Equal("""{"dropped-slices":[{"b0":0}],"slice":1}""", reply!.ToJsonString()));
        List<string> told = [];
        await foreach (var happened in all[1].Events)
        {
            told.Add(happened.Data!["dropped-slices"]!.ToJsonString());
            if (told.Count == 2)
                break;
        }

        Assert.Equal(["""[{"b0":0}]""", """[{"b0":1}]"""], told);
        await all[0].ExecuteAsync("nbd-server-stop", arguments: null, _never);
        foreach (var client in all)
            await client.DisposeAsync();
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

    private static Task<JsonNode?> StartServerAsync(QmpClient qmp, Ledger ledger) => qmp.ExecuteAsync("nbd-server-start", new JsonObject
    {
        ["addr"] = new JsonObject
        {
            ["type"] = "unix",
            ["data"] = new JsonObject { ["path"] = Path.Combine(ledger.DataDirectory, "y.sock") },
        },
    }, _never);

    private static JsonObject WithId(string id, string command, JsonObject arguments) =>
        new() { ["execute"] = command, ["arguments"] = arguments.DeepClone(), ["command-id"] = id };
}
