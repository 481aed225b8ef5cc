using System.Text.Json.Nodes;
using BitmapLedger.Qmp;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>Several QMP clients at once, that want the same or look at what others change.</summary>
public sealed class QmpRaceTests(SharedLedger shared) : IClassFixture<SharedLedger>, IAsyncLifetime
{
    private const string Busy = "Bitmap 'b' is currently in use by another operation and cannot be used";
    private static readonly CancellationToken _never = CancellationToken.None;
    private readonly List<QmpClient> _clients = [];
    private readonly Ledger _ledger = shared.Empty();

    public async ValueTask InitializeAsync()
    {
        _ledger.Json("volume", "create", "v", "--size", "16M");
        for (var i = 0; i < 6; i++)
            _clients.Add(await QmpClient.ConnectAsync(Path.Combine(_ledger.DataDirectory, "run", "qmp.sock"), [], _never));
        await Do("block-dirty-bitmap-add", Bitmap());
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var client in _clients)
            await client.DisposeAsync();
    }

    [Fact]
    public async Task Of_several_clients_that_want_the_same_bitmap_slice_or_checkpoint_one_gets_it_and_the_others_hear_why_not()
    {
        await Do("block-dirty-bitmap-set-retention", Bitmap(("slices", 100)));
        for (var i = 0; i < 5; i++)
        {
            await Do("block-dirty-bitmap-slice-create", Bitmap());
            await OneWins("block-dirty-bitmap-slice-delete", Bitmap(("slice", i)), $"Slice {i} of bitmap 'b' not found");
            await OneWins("block-checkpoint-add", Checkpoint(), "Checkpoint 'k' of volume 'v' already exists");
            await OneWins("block-checkpoint-remove", Checkpoint(), "Checkpoint 'k' of volume 'v' not found");
            var other = new JsonObject { ["node"] = "v", ["name"] = $"b{i}" };
            await OneWins("block-dirty-bitmap-add", other, $"Bitmap already exists: b{i}");
            await OneWins("block-dirty-bitmap-remove", other, $"Dirty bitmap 'b{i}' not found");
        }
    }

    // Room for one: whoever banks first has it, and the others leave the bitmap as it is.
    [Fact]
    public async Task Of_several_clients_that_bank_the_last_slice_that_there_is_room_for_one_gets_the_number()
    {
        for (var slices = 1; slices <= 5; slices++)
        {
            await Do("block-dirty-bitmap-set-retention", Bitmap(("slices", slices)));
            var answers = await Task.WhenAll(_clients.Select(c => AnswerAsync(c, "block-dirty-bitmap-slice-create", Bitmap())));

            Assert.Equal(
                ($$"""{"dropped-slices":[],"slice":{{slices - 1}}}""", _clients.Count - 1),
                (Assert.Single(answers, a => a.StartsWith('{')), answers.Count(a => a == $"Bitmap 'b' already retains {slices} slices")));
        }
    }

    [Fact]
    public async Task Of_a_command_and_an_export_that_want_the_same_bitmap_the_loser_is_told_that_it_is_in_use()
    {
        await Do("nbd-server-start", new JsonObject
        {
            ["addr"] = new JsonObject { ["type"] = "unix", ["data"] = new JsonObject { ["path"] = _ledger.Scratch("n.sock") } },
        });
        for (var i = 0; i < 10; i++)
        {
            var export = new JsonObject
            {
                ["id"] = "e",
                ["type"] = "nbd",
                ["node-name"] = "v",
                ["writable"] = true,
                ["bitmaps"] = new JsonArray("b"),
            };
            var answers = await Task.WhenAll(
                AnswerAsync(_clients[0], "block-export-add", export), AnswerAsync(_clients[1], "block-dirty-bitmap-remove", Bitmap()));

            Assert.Contains(string.Join('\n', answers), new[] { $"{{}}\n{Busy}", "Bitmap 'b' is not found\n{}" });
            await AnswerAsync(_clients[0], "block-export-del", new JsonObject { ["id"] = "e", ["mode"] = "hard" });
            await AnswerAsync(_clients[0], "block-dirty-bitmap-add", Bitmap());
        }
    }

    // A verification tells the agent what there is: it must not tell what there was before it had its turn.
    [Fact]
    public async Task A_verification_among_commands_leaves_the_agent_with_what_they_made()
    {
        const int rounds = 12, granule = 65_536;
        using var disk = new NbdWriter(_ledger.NbdSocket, "v");
        for (var i = 0; i < rounds; i++)
        {
            await Do("block-dirty-bitmap-disable", Bitmap());
            var verifying = Enumerable.Range(0, 3).Select(_ => Task.Run(() => _ledger.Bml("verify", "v"))).ToList();
            var commanding = Task.WhenAll(
                Do("block-dirty-bitmap-enable", Bitmap()),
                _clients[1].ExecuteAsync("block-dirty-bitmap-add", new JsonObject { ["node"] = "v", ["name"] = $"b{i}" }, _never));
            foreach (var verified in await Task.WhenAll(verifying))
                verified.Expect();
            await commanding;

            Assert.Equal(0u, disk.Write(i * granule, 512, 1));
            Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean(), $"round {i}");
            var added = _ledger.Json("replay", "v", "--at", "now", "--bitmap", $"b{i}").GetProperty("bitmaps")[0];
            Assert.Contains((i * granule, granule), Extents.Of(added).Select(e => ((int)e.Offset, (int)e.Length)));
        }
    }

    // One verification alone, and the command somewhere in its course: whatever came after would put right what it has done.
    [Fact]
    public async Task A_bitmap_that_was_added_while_a_verification_waited_is_marked_from_then_on()
    {
        const int rounds = 40, granule = 65_536;
        using var disk = new NbdWriter(_ledger.NbdSocket, "v");
        for (var i = 0; i < rounds; i++)
        {
            var verifying = Task.Run(() => _ledger.Bml("verify", "v"));
            await Task.Delay(TimeSpan.FromMilliseconds(2 * i));
            await Do("block-dirty-bitmap-add", new JsonObject { ["node"] = "v", ["name"] = $"b{i}" });
            (await verifying).Expect();

            Assert.Equal(0u, disk.Write(i * granule, 512, 1));
            Assert.True(_ledger.Json("verify", "v").GetProperty("equal").GetBoolean(), $"round {i}");
        }
    }

    // Slice N holds block N of 64 KiB, so every answer can be told from a wrong one by itself.
    [Fact]
    public async Task Readers_of_slices_see_whole_ones_while_retention_lets_the_oldest_go()
    {
        const int kept = 4, banks = 60, granule = 65_536;
        await Do("block-dirty-bitmap-set-retention", Bitmap(("slices", kept), ("overflow", "cycle")));
        using var done = new CancellationTokenSource();
        var readers = _clients.Skip(1).Select(c => ReadAsync(c, done.Token)).ToList();
        using (var disk = new NbdWriter(_ledger.NbdSocket, "v"))
        {
            for (var i = 0; i < banks; i++)
            {
                Assert.Equal(0u, disk.Write(i * granule, 512, 1));
                var banked = await Do("block-dirty-bitmap-slice-create", Bitmap());
                Assert.Equal(i, (long)banked!["slice"]!);
                if (readers.Exists(r => r.IsCompleted))
                    break;
            }
        }

        await done.CancelAsync();
        foreach (var seen in await Task.WhenAll(readers))
            Assert.InRange(seen, 1, int.MaxValue);

        async Task<int> ReadAsync(QmpClient client, CancellationToken enough)
        {
            var (answers, newest) = (0, -1);
            while (!enough.IsCancellationRequested)
            {
                var slices = (await client.ExecuteAsync("query-block-dirty-bitmap-slices", Bitmap(), _never))!.AsArray()
                    .Select(s => (Number: (int)(long)s!["slice"]!, Count: (int)(long)s["count"]!, Digest: (string)s["sha256"]!)).ToList();
                Assert.InRange(slices.Count, 0, kept);
                Assert.Equal(Enumerable.Range(slices.Count == 0 ? 0 : slices[0].Number, slices.Count), slices.Select(s => s.Number));
                Assert.All(slices, s => Assert.Equal((granule, DigestOf(s.Number)), (s.Count, s.Digest)));
                Assert.InRange(slices.Count == 0 ? -1 : slices[^1].Number, newest, banks);
                newest = slices.Count == 0 ? newest : slices[^1].Number;
                answers++;
            }

            return answers;
        }

        static string DigestOf(int block)
        {
            var bits = new byte[(16 << 20) / granule / 8];
            bits[block / 8] |= (byte)(1 << block % 8);
            return Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bits));
        }
    }

    private async Task OneWins(string command, JsonObject arguments, string others)
    {
        var answers = await Task.WhenAll(_clients.Select(c => AnswerAsync(c, command, arguments)));

        Assert.Single(answers, "{}");
        Assert.All(answers.Where(a => a != "{}"), a => Assert.Contains(others, a, StringComparison.Ordinal));
    }

    private static async Task<string> AnswerAsync(QmpClient client, string command, JsonObject arguments)
    {
        try
        {
            return (await client.ExecuteAsync(command, arguments.DeepClone().AsObject(), _never))!.ToJsonString();
        }
        catch (QmpException refusal)
        {
            return refusal.Description;
        }
    }

    private Task<JsonNode?> Do(string command, JsonObject arguments) => _clients[0].ExecuteAsync(command, arguments, _never);

    private static JsonObject Checkpoint() => new() { ["name"] = "k", ["nodes"] = new JsonArray("v") };

    private static JsonObject Bitmap(params IEnumerable<(string Key, JsonNode Value)> more)
    {
        var arguments = new JsonObject { ["node"] = "v", ["name"] = "b" };
        foreach (var (key, value) in more)
            arguments[key] = value;
        return arguments;
    }
}
