using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>Commands of QMP whose server or agent is killed, and commands that take long enough to be asked about.</summary>
public sealed class QmpCrashTests : IAsyncLifetime
{
    private static readonly CancellationToken _never = CancellationToken.None;
    private Ledger _ledger = null!;
    private Exception? _lost;

    public async ValueTask InitializeAsync()
    {
        _ledger = await Ledger.StartAsync();
        foreach (var node in (string[])["v", "w"])
        {
            _ledger.Json("volume", "create", node, "--size", "1M");
            _ledger.Json("bitmap", "add", node, "b0");
            _ledger.Json("retention", "set", node, "b0", "--slices", "2", "--overflow", "cycle");
        }
    }

    public ValueTask DisposeAsync() => _ledger.DisposeAsync();

    // Method: the agent or PostgreSQL is held where it is, so that the server is killed while it waits for the cut, or for the
    // append; in the other rounds it is killed at any moment. What is then asked again, under the same id, must have been
    // done once: each round banks a slice of each volume, and the numbers have no gap.
    [Fact]
    public async Task A_transaction_whose_server_is_killed_in_the_middle_is_done_once_when_it_is_asked_again()
    {
        string[] held = ["agent", "", "postgres", "", "agent", "", "", ""];
        for (var round = 0; round < held.Length; round++)
        {
            var request = Transaction($"t{round}", round);
            Hold(held[round]);
            var first = AttemptAsync(request);
            await Task.Delay(held[round].Length > 0 ? 300 : round * 4);
            _ledger.Kill("server");
            LetGo(held[round]);
            _ = await first;

            var reply = await AgainAsync(request);
            var again = await AgainAsync(request);

            Assert.Equal(Expected(round), (string[])[.. reply["slices"]!.AsArray().Select(s => $"{s!["node"]} {s["name"]} {s["slice"]}")]);
            Assert.True(JsonNode.DeepEquals(reply, again), $"{reply.ToJsonString()}\n{again.ToJsonString()}");
        }

        foreach (var node in (string[])["v", "w"])
        {
            Assert.Equal(held.Length, _ledger.Json("history", node, "--type", "SliceBanked").GetProperty("events").GetArrayLength());
            Assert.Equal(held.Length, _ledger.Json("history", node, "--type", "CheckpointCreated").GetProperty("events").GetArrayLength());
            Assert.True(_ledger.Json("verify", node).GetProperty("equal").GetBoolean());
        }

        static string[] Expected(int round) => [$"v b0 {round}", $"w b0 {round}"];
    }

    [Fact]
    public async Task A_bitmap_that_is_not_persistent_ends_with_a_killed_agent_and_its_history_stays()
    {
        await using (var qmp = await ConnectAsync())
        {
            await qmp.ExecuteAsync("block-dirty-bitmap-add", Bitmap("passing"), _never);
            await qmp.ExecuteAsync("block-dirty-bitmap-add", Bitmap("staying", ("persistent", true)), _never);
        }

        using (var disk = new NbdWriter(_ledger.NbdSocket, "v"))
            Assert.Equal(0u, disk.Write(65_536, 4096, 1));
        var before = _ledger.Json("checkpoint", "create", "v", "before").GetProperty("event").GetInt64();

        _ledger.Kill("agent");
        await _ledger.AnswersAsync("bitmap", "add", "v", "later", "--command-id", "later");

        await using var again = await ConnectAsync();
        var nodes = (await again.ExecuteAsync("query-named-block-nodes", arguments: null, _never))!.AsArray();
        var shown = nodes.Single(n => (string?)n!["node-name"] == "v")!["dirty-bitmaps"]!.AsArray();
        Assert.Equal(["later", "b0", "staying"], shown.Select(b => (string)b!["name"]!));
        var gone = await Assert.ThrowsAsync<QmpException>(() => again.ExecuteAsync("block-dirty-bitmap-clear", Bitmap("passing"), _never));
        Assert.Equal("Dirty bitmap 'passing' not found", gone.Description);
        var removed = Assert.Single(_ledger.Json("history", "v", "--type", "BitmapRemoved").GetProperty("events").EnumerateArray());
        Assert.Equal(
            ("passing", "transient"),
            (removed.GetProperty("data").GetProperty("name").GetString(), removed.GetProperty("data").GetProperty("cause").GetString()));
        var then = _ledger.Json("replay", "v", "--at", $"event:{before}", "--bitmap", "passing").GetProperty("bitmaps")[0];
        Assert.Equal([(65_536, 65_536)], Extents.Of(then));
        Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public async Task Every_entrance_lists_bitmaps_in_qemus_order_when_the_agent_was_started_again_too()
    {
        await ListedAsync("b0");
        foreach (var name in (string[])["a", "c"])
            _ledger.Json("bitmap", "add", "v", name);
        await ListedAsync("c a b0");

        _ledger.Kill("agent");
        await _ledger.AnswersAsync("bitmap", "add", "v", "d", "--command-id", "d");
        await ListedAsync("d b0 a c");
        _ledger.Json("bitmap", "add", "v", "e");
        await ListedAsync("e d b0 a c");
        Assert.Equal("""{"bitmaps":["a","c"],"next":null}""", await PageAsync("bitmaps?limit=2&after=b0"));

        async Task ListedAsync(string expected)
        {
            await using var qmp = await ConnectAsync();
            var nodes = (await qmp.ExecuteAsync("query-named-block-nodes", arguments: null, _never))!.AsArray();
            var overQmp = nodes.Single(n => (string?)n!["node-name"] == "v")!["dirty-bitmaps"]!.AsArray();
            Assert.Equal(expected, string.Join(' ', overQmp.Select(b => (string)b!["name"]!)));
            foreach (var verb in (string[])["bitmap list v", "volume show v"])
                Assert.Equal(expected, string.Join(
                    ' ', _ledger.Json(verb.Split(' ')).GetProperty("bitmaps").EnumerateArray().Select(b => b.GetProperty("name").GetString())));
        }

        async Task<string> PageAsync(string path)
        {
            var page = JsonNode.Parse(await _ledger.GetAsync("v1/volumes/v/" + path))!;
            return new JsonObject
            {
                ["bitmaps"] = new JsonArray([.. page["bitmaps"]!.AsArray().Select(b => b!["name"]!.DeepClone())]),
                ["next"] = page["next"]?.DeepClone(),
            }.ToJsonString();
        }
    }

    [Theory]
    [InlineData("qmp")]
    [InlineData("cli")]
    public async Task A_command_is_running_until_it_is_done_through_whatever_entrance_it_came(string entrance)
    {
        await using var asking = await ConnectAsync();
        await using var commanding = await ConnectAsync();
        var id = $"add over {entrance}";

        Hold("agent");
        Task under = entrance == "qmp"
            ? commanding.SendAsync(
                new() { ["execute"] = "block-dirty-bitmap-add", ["arguments"] = Bitmap("slow"), ["command-id"] = id }, _never)
            : Task.Run(() => _ledger.Bml("bitmap", "add", "v", "slow", "--command-id", id).Expect());
        string? state;
        try
        {
            while ((state = await StateAsync(asking, id)) is null && !under.IsCompleted)
                await Task.Delay(20);
        }
        finally
        {
            LetGo("agent");
        }

        await under;
        Assert.Equal(("running", "done"), (state, await StateAsync(asking, id)));
        Assert.Null(await StateAsync(asking, "never heard of"));
    }

    // Method: no record of a command can be stored, so that the server is killed when the agent has done it and nobody knows.
    [Fact]
    public async Task What_the_agent_did_to_exports_before_the_server_was_killed_is_not_refused_when_it_is_asked_again()
    {
        var socket = _ledger.Scratch("exports.sock");
        await DoneUnrecordedAsync(
            "nbd-server-start", $$"""{"addr": {"type": "unix", "data": {"path": "{{socket}}" } } }""", () => Task.FromResult(File.Exists(socket)));
        await DoneUnrecordedAsync("block-export-add", """{"type": "nbd", "id": "e", "node-name": "v"}""", IsExportedAsync);
        await DoneUnrecordedAsync("block-export-del", """{"id": "e"}""", async () => !await IsExportedAsync());
        await DoneUnrecordedAsync("nbd-server-stop", "{}", () => Task.FromResult(!File.Exists(socket)));

        async Task<bool> IsExportedAsync()
        {
            await using var qmp = await ConnectAsync();
            return (await qmp.ExecuteAsync("query-block-exports", arguments: null, _never))!.AsArray().Count > 0;
        }
    }

    private async Task DoneUnrecordedAsync(string command, string arguments, Func<Task<bool>> isDone)
    {
        JsonObject request = new() { ["execute"] = command, ["command-id"] = command, ["arguments"] = JsonNode.Parse(arguments) };
        const string records = "bitmapledger.mt_doc_commandrecord";
        using var holding = Tool.Start("psql", [.. Psql, $"begin; lock table {records} in share mode; select pg_sleep(600)"]);
        while (Sql($"select count(*) from pg_locks where relation = '{records}'::regclass and mode = 'ShareLock' and granted") != "1")
            await Task.Delay(20);
        var first = AttemptAsync(request);
        while (!await isDone())
            await Task.Delay(20);
        _ledger.Kill("server");
        Assert.Null(await first);
        Sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' or query like 'begin; lock%'");
        await holding.WaitForExitAsync();

        Assert.Equal("{}", (await AgainAsync(request)).ToJsonString());
        Assert.True(await isDone());
        request["arguments"] = new JsonObject { ["id"] = "another" };
        await using var qmp = await ConnectAsync();
        await Assert.ThrowsAsync<QmpException>(() => qmp.SendAsync(request.DeepClone().AsObject(), _never));
    }

    private string[] Psql =>
        ["-h", Path.Combine(_ledger.DataDirectory, "postgres", "run"), "-U", "postgres", "-d", "bitmapledger", "-v", "ON_ERROR_STOP=1", "-Atc"];

    private string Sql(string sql) => Tool.Run("psql", [.. Psql, sql]).Expect().Output.Trim();

    private static async Task<string?> StateAsync(QmpClient qmp, string id)
    {
        try
        {
            return (string?)(await qmp.ExecuteAsync("query-command", new JsonObject { ["command-id"] = id }, _never))!["state"];
        }
        catch (QmpException unknown) when (unknown.Description == $"Command '{id}' not found")
        {
            return null;
        }
    }

    private static JsonObject Transaction(string id, int round) => new()
    {
        ["execute"] = "transaction",
        ["command-id"] = id,
        ["arguments"] = new JsonObject
        {
            ["actions"] = new JsonArray(
                Action("block-dirty-bitmap-slice-create", Bitmap("b0")),
                Action("block-checkpoint-add", new() { ["name"] = $"k{round}", ["nodes"] = new JsonArray("v", "w") }),
                Action("block-dirty-bitmap-slice-create", new() { ["node"] = "w", ["name"] = "b0" })),
        },
    };

    private static JsonObject Action(string type, JsonObject data) => new() { ["type"] = type, ["data"] = data };

    private static JsonObject Bitmap(string name, params IEnumerable<(string Key, JsonNode Value)> more)
    {
        var arguments = new JsonObject { ["node"] = "v", ["name"] = name };
        foreach (var (key, value) in more)
            arguments[key] = value;
        return arguments;
    }

    /// <summary>Sends a request until there is a server that carries it out.</summary>
    private async Task<JsonNode> AgainAsync(JsonObject request)
    {
        var asked = Stopwatch.StartNew();
        while (true)
        {
            if (await AttemptAsync(request) is { } reply)
                return reply;
            Assert.True(asked.Elapsed < TimeSpan.FromMinutes(2), $"{_lost?.Message}\n{_ledger.Logs()}");
            await Task.Delay(50);
        }
    }

    /// <summary>What a request returns; null when the server went away, or could not do it now.</summary>
    private async Task<JsonNode?> AttemptAsync(JsonObject request)
    {
        try
        {
            await using var qmp = await ConnectAsync();
            return await qmp.SendAsync(request.DeepClone().AsObject(), _never);
        }
        catch (Exception lost) when (lost is SocketException or IOException or QmpException)
        {
            _lost = lost;
            return null;
        }
    }

    private void Hold(string part) => Signal(part, Posix.SigStop);

    private void LetGo(string part) => Signal(part, Posix.SigCont);

    private void Signal(string part, int signal)
    {
        if (part == "postgres" && signal == Posix.SigStop)
            _ledger.FreezePostgres();
        else if (part == "postgres")
            _ledger.ThawPostgres();
        else if (part.Length > 0)
            Posix.Signal(_ledger.Pid(part), signal);
    }

    private Task<QmpClient> ConnectAsync() =>
        QmpClient.ConnectAsync(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"), [], _never);
}
