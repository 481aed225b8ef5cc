using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>What <c>run/qmp.sock</c> does beyond what QEMU can be asked about.</summary>
public sealed class QmpEndpointTests(SharedLedger shared) : IClassFixture<SharedLedger>
{
    private static readonly CancellationToken _never = CancellationToken.None;

    [Fact]
    public async Task Slices_checkpoints_history_and_command_ids_over_qmp()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        await Do(qmp, "block-dirty-bitmap-add", "b0");
        await qmp.ExecuteAsync("block-dirty-bitmap-set-retention", Bitmap("b0", ("slices", 1), ("overflow", "fail")), _never);
        Write(ledger, 0);

        var banked = await qmp.ExecuteAsync("block-dirty-bitmap-slice-create", Bitmap("b0"), _never);
        var full = await RefusalAsync(qmp, "block-dirty-bitmap-slice-create", Bitmap("b0"));
        Write(ledger, 512 << 10);
        var cycled = await qmp.ExecuteAsync("block-dirty-bitmap-slice-create", Bitmap("b0", ("force-cycle", true)), _never);

        Assert.Equal(0, (long?)banked!["slice"]);
        Assert.Equal("Bitmap 'b0' already retains 1 slices", full);
        Assert.Equal("""{"dropped-slices":[{"b0":0}],"slice":1}""", cycled!.ToJsonString());
        var slices = (await qmp.ExecuteAsync("query-block-dirty-bitmap-slices", Bitmap("b0"), _never))!.AsArray();
        Assert.Equal((1L, 65_536L, "manual"), ((long)slices[0]!["slice"]!, (long)slices[0]!["count"]!, (string)slices[0]!["cause"]!));
        await foreach (var happened in qmp.Events)
        {
            Assert.Equal("SLICES_DROPPED", happened.Name);
            break;
        }

        await qmp.ExecuteAsync("block-checkpoint-add", new JsonObject { ["name"] = "k", ["nodes"] = new JsonArray("v") }, _never);
        var checkpoints = (await qmp.ExecuteAsync("query-block-checkpoints", arguments: null, _never))!.AsArray();
        Assert.Equal(("k", "v"), ((string)checkpoints[0]!["name"]!, (string)checkpoints[0]!["node"]!));
        await qmp.ExecuteAsync("block-checkpoint-remove", new JsonObject { ["name"] = "k" }, _never);
        var history = await qmp.ExecuteAsync("query-block-dirty-bitmap-history", Bitmap("b0"), _never);
        Assert.Contains(history!["events"]!.AsArray(), e => (string?)e!["type"] == "SliceDropped");
        Assert.DoesNotContain(history["events"]!.AsArray(), e => (string?)e!["type"] == "WritesRecorded");
        await Do(qmp, "block-dirty-bitmap-add", "sum");
        await qmp.ExecuteAsync(
            "block-dirty-bitmap-merge", new JsonObject { ["node"] = "v", ["target"] = "sum", ["bitmaps"] = new JsonArray("b0") }, _never);
        var merged = await qmp.ExecuteAsync("query-block-dirty-bitmap-history", Bitmap("b0"), _never);
        Assert.Equal("BitmapMerged", (string?)merged!["events"]!.AsArray()[^1]!["type"]);
    }

    [Fact]
    public async Task A_history_comes_so_many_events_at_a_time_and_says_where_it_goes_on()
    {
        const int actions = 1_200;
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        await Do(qmp, "block-dirty-bitmap-add", "b0");
        await Do(qmp, "block-dirty-bitmap-add", "b1");
        var clears = Enumerable.Range(0, actions).Select(i => new JsonObject
        {
            ["type"] = "block-dirty-bitmap-clear",
            ["data"] = Bitmap($"b{i % 2}"),
        });
        await qmp.ExecuteAsync("transaction", new JsonObject { ["actions"] = new JsonArray([.. clears]) }, _never);

        var (first, next) = await PageAsync([]);
        var (rest, end) = await PageAsync(new() { ["after"] = next });
        var (few, goesOn) = await PageAsync(new() { ["name"] = "b1", ["limit"] = 3, ["after"] = 4 });
        var (others, _) = await PageAsync(new() { ["name"] = "b1", ["limit"] = 10_000, ["after"] = goesOn });

        Assert.Equal(Enumerable.Range(1, actions + 3).Select(n => (long)n), [.. first, .. rest]);
        Assert.Equal((1_000, 1_000L, null), (first.Count, next, end));
        Assert.Equal([5, 7, 9], few);
        Assert.Equal(((actions / 2) - 3, 11), (others.Count, others[0]));
        Assert.Equal("Parameter 'limit' expects 1 to 10000", await RefusalAsync(
            qmp, "query-block-dirty-bitmap-history", new JsonObject { ["node"] = "v", ["limit"] = 10_001 }));

        async Task<(List<long> Events, long? Next)> PageAsync(JsonObject arguments)
        {
            arguments["node"] = "v";
            var page = await qmp.ExecuteAsync("query-block-dirty-bitmap-history", arguments, _never);
            return ([.. page!["events"]!.AsArray().Select(e => (long)e!["event"]!)], (long?)page["next"]);
        }
    }

    [Fact]
    public async Task The_socket_is_where_serve_was_told_and_says_how_the_machine_is()
    {
        await using var ledger = await Ledger.StartAsync(l => ["--qmp", l.Scratch("elsewhere.sock")]);
        await using var qmp = await ConnectAsync(ledger);

        Assert.Contains($" qmp={ledger.Scratch("elsewhere.sock")} ", ledger.ReadyLine, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(ledger.DataDirectory, "run", "qmp.sock")));
        var status = await qmp.ExecuteAsync("query-status", arguments: null, _never);
        Assert.True(JsonNode.DeepEquals(
            JsonNode.Parse("""{"status":"running","singlestep":false,"running":true}"""), status), status!.ToJsonString());
        Assert.Equal("{}", (await qmp.ExecuteAsync("query-name", arguments: null, _never))!.ToJsonString());
        Assert.Equal("[]", (await qmp.ExecuteAsync("query-tpm", arguments: null, _never))!.ToJsonString());
    }

    [Fact]
    public async Task A_policy_that_is_not_named_stays_as_it_was()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        await Do(qmp, "block-dirty-bitmap-add", "b0");
        Task<JsonNode?> Keep(int slices, params IEnumerable<(string Key, JsonNode Value)> more) =>
            qmp.ExecuteAsync("block-dirty-bitmap-set-retention", Bitmap("b0", [("slices", slices), .. more]), _never);
        string Policy() => ledger.Json("volume", "show", "v").GetProperty("bitmaps")[0].GetProperty("overflow").GetString()!;

        await Keep(2);
        Assert.Equal("fail", Policy());
        await Keep(1, ("overflow", "cycle"));
        await Keep(2);
        Assert.Equal("cycle", Policy());
        ledger.Json("retention", "set", "v", "b0", "--slices", "1");
        Assert.Equal("cycle", Policy());

        await Do(qmp, "block-dirty-bitmap-slice-create", "b0");
        var cycled = await Do(qmp, "block-dirty-bitmap-slice-create", "b0");
        Assert.Equal("""{"dropped-slices":[{"b0":0}],"slice":1}""", cycled!.ToJsonString());
        await Keep(1, ("overflow", "fail"));
        Assert.Equal("Bitmap 'b0' already retains 1 slices", await RefusalAsync(qmp, "block-dirty-bitmap-slice-create", Bitmap("b0")));
    }

    [Fact]
    public async Task A_command_id_acts_once_and_can_be_looked_up()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);

        for (var i = 0; i < 2; i++)
            await qmp.SendAsync(WithId("add-b0", "block-dirty-bitmap-add", Bitmap("b0")), _never);
        var other = await Assert.ThrowsAsync<QmpException>(
            () => qmp.SendAsync(WithId("add-b0", "block-dirty-bitmap-add", Bitmap("b1")), _never));
        var refused = await Assert.ThrowsAsync<QmpException>(
            () => qmp.SendAsync(WithId("again", "block-dirty-bitmap-add", Bitmap("b0")), _never));

        Assert.Contains("was used for another command", other.Description, StringComparison.Ordinal);
        Assert.Equal("Bitmap already exists: b0", refused.Description);
        Assert.Equal("done", (string?)(await LookUpAsync("add-b0"))!["state"]);
        Assert.Equal("Bitmap already exists: b0", (string?)(await LookUpAsync("again"))!["reply"]!["desc"]);
        await Assert.ThrowsAsync<QmpException>(() => LookUpAsync("never"));

        Task<JsonNode?> LookUpAsync(string id) => qmp.ExecuteAsync("query-command", new JsonObject { ["command-id"] = id }, _never);
    }

    [Fact]
    public async Task A_transaction_moves_a_checkpoint_and_removes_one_that_it_made()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        JsonObject Add(string name) => Checkpoint("add", new JsonObject { ["name"] = name, ["nodes"] = new JsonArray("v") });
        JsonObject Remove(string name) => Checkpoint("remove", new JsonObject { ["name"] = name });
        Task<JsonNode?> Transact(params JsonNode[] actions) =>
            qmp.ExecuteAsync("transaction", new JsonObject { ["actions"] = new JsonArray(actions) }, _never);

        await Transact(Add("kept"));
        await Transact(Remove("kept"), Add("kept"), Add("passing"), Remove("passing"));

        var left = (await qmp.ExecuteAsync("query-block-checkpoints", arguments: null, _never))!.AsArray();
        Assert.Equal(["kept"], left.Select(c => (string)c!["name"]!));

        static JsonObject Checkpoint(string what, JsonObject data) => new() { ["type"] = $"block-checkpoint-{what}", ["data"] = data };
    }

    [Fact]
    public async Task A_command_id_answers_the_same_whatever_its_names_have_come_to_mean()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        var checkpoint = new JsonObject { ["name"] = "k" };
        await qmp.ExecuteAsync("block-checkpoint-add", new JsonObject { ["name"] = "k", ["nodes"] = new JsonArray("v") }, _never);
        JsonObject[] commands =
        [
            WithId("checkpoint", "block-checkpoint-remove", checkpoint),
            WithId("unknown", "block-dirty-bitmap-clear", new JsonObject { ["node"] = "later", ["name"] = "b0" }),
            WithId("known", "block-dirty-bitmap-add", Bitmap("b0")),
            WithId("nothing", "transaction", new JsonObject { ["actions"] = new JsonArray() }),
        ];
        List<string> first = [], again = [];
        foreach (var command in commands)
            first.Add(await AnswerAsync(command));

        ledger.Json("volume", "remove", "v");
        ledger.Json("volume", "create", "later", "--size", "1M");
        foreach (var command in commands)
            again.Add(await AnswerAsync(command));

        Assert.Equal(["{}", "Node 'later' not found", "{}", "{}"], first);
        Assert.Equal(first, again);
        Assert.Contains("was used for another command", await AnswerAsync(
            WithId("nothing", "block-checkpoint-remove", checkpoint.DeepClone().AsObject())), StringComparison.Ordinal);

        async Task<string> AnswerAsync(JsonObject command)
        {
            try
            {
                return (await qmp.SendAsync(command, _never))!.ToJsonString();
            }
            catch (QmpException refusal)
            {
                return refusal.Description;
            }
        }
    }

    [Fact]
    public async Task Of_two_clients_that_want_the_same_one_gets_it()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var one = await ConnectAsync(ledger);
        await using var two = await ConnectAsync(ledger);

        for (var i = 0; i < 10; i++)
        {
            var added = await Task.WhenAll(AddAsync(one, $"b{i}"), AddAsync(two, $"b{i}"));
            Assert.Equal([$"Bitmap already exists: b{i}", "done"], added.Order(StringComparer.Ordinal));
        }

        static async Task<string> AddAsync(QmpClient client, string name)
        {
            try
            {
                await Do(client, "block-dirty-bitmap-add", name);
                return "done";
            }
            catch (QmpException refusal)
            {
                return refusal.Description;
            }
        }
    }

    [Fact]
    public async Task While_postgresql_is_away_commands_say_so_and_afterwards_they_work()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        ledger.FreezePostgres();
        var refusal = await RefusalAsync(qmp, "block-dirty-bitmap-add", Bitmap("b0"));
        Assert.StartsWith("PostgreSQL is away", refusal, StringComparison.Ordinal);
        Assert.NotNull(await qmp.ExecuteAsync("query-version", arguments: null, _never));

        ledger.ThawPostgres();

        // One that was left under way ends first, in the volume's lane, and the agent is met again.
        await ledger.AnswersAsync("checkpoint", "create", "v", "after");
        await Do(qmp, "block-dirty-bitmap-add", "b0");
    }

    [Fact]
    public async Task Merging_nothing_changes_nothing_where_qemu_crashes()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await ConnectAsync(ledger);
        await Do(qmp, "block-dirty-bitmap-add", "b0");

        await qmp.ExecuteAsync(
            "block-dirty-bitmap-merge", new JsonObject { ["node"] = "v", ["target"] = "b0", ["bitmaps"] = new JsonArray() }, _never);
        var enable = new JsonObject { ["type"] = "block-dirty-bitmap-enable", ["data"] = Bitmap("none") };

        Assert.Equal(
            "Dirty bitmap 'none' not found", await RefusalAsync(qmp, "transaction", new JsonObject { ["actions"] = new JsonArray(enable) }));
    }

    // Beside QEMU on a qcow2 image, since it keeps no bitmap beside a raw one.
    [Fact]
    public async Task A_persistent_bitmap_is_refused_in_the_words_of_qemu()
    {
        var ledger = shared.Empty();
        ledger.Json("volume", "create", "n0", "--size", "1M");
        var directory = Directory.CreateDirectory(ledger.Scratch("persistent")).FullName;
        var image = Path.Combine(directory, "n0.qcow2");
        Tool.Run("qemu-img", "create", "-q", "-f", "qcow2", image, "1M").Expect();
        using var qemu = new QemuStorageDaemon(directory, image, "qcow2");
        await using var qmp = await ConnectAsync(ledger);
        var longest = new string('n', 1023);
        foreach (var (name, granularity, isGood) in new[]
        {
            (longest, 65_536L, true), (longest, 65_536, false), (longest + "n", 65_536, false), ("", 65_536, false), ("b0", 513, false),
            (longest + "n", 513, false), ("b0", 1L << 31, true),
        })
        {
            Dictionary<string, object> theirs = new() { ["node"] = "n0", ["name"] = name, ["granularity"] = granularity, ["persistent"] = true };
            JsonObject ours = new() { ["node"] = "n0", ["name"] = name, ["granularity"] = granularity, ["persistent"] = true };
            if (isGood)
            {
                qemu.Execute("block-dirty-bitmap-add", theirs);
                await qmp.ExecuteAsync("block-dirty-bitmap-add", ours, _never);
            }
            else
            {
                Assert.Equal(qemu.Refusal("block-dirty-bitmap-add", theirs), await RefusalAsync(qmp, "block-dirty-bitmap-add", ours));
            }
        }
    }

    [Fact]
    public async Task Quit_ends_everything_in_order()
    {
        await using var ledger = await Ledger.StartAsync();
        await using var qmp = await ConnectAsync(ledger);

        await qmp.ExecuteAsync("quit", arguments: null, _never);

        Assert.Equal(0, await ledger.EndedAsync());
        Assert.All(new[] { "agent", "server" }, p => Assert.False(Posix.IsAlive(ledger.Pid(p))));
    }

    private static Task<QmpClient> ConnectAsync(Ledger ledger)
    {
        var path = ledger.ReadyLine.Split(' ').Single(w => w.StartsWith("qmp=", StringComparison.Ordinal))["qmp=".Length..];
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        return QmpClient.ConnectAsync(path, ["oob"], _never);
    }

    private static JsonObject Bitmap(string name, params IEnumerable<(string Key, JsonNode Value)> more)
    {
        var arguments = new JsonObject { ["node"] = "v", ["name"] = name };
        foreach (var (key, value) in more)
            arguments[key] = value;
        return arguments;
    }

    private static JsonObject WithId(string id, string command, JsonObject arguments) =>
        new() { ["execute"] = command, ["arguments"] = arguments, ["command-id"] = id };

    private static Task<JsonNode?> Do(QmpClient qmp, string command, string name) => qmp.ExecuteAsync(command, Bitmap(name), _never);

    private static async Task<string> RefusalAsync(QmpClient qmp, string command, JsonObject arguments) =>
        (await Assert.ThrowsAsync<QmpException>(() => qmp.ExecuteAsync(command, arguments, _never))).Description;

    private static void Write(Ledger ledger, long offset)
    {
        using var disk = new NbdWriter(ledger.NbdSocket, "v");
        Assert.Equal(0u, disk.Write(offset, 4096, 1));
    }
}
