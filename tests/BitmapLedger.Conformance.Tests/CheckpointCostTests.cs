using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Client;
using BitmapLedger.Testing;

namespace BitmapLedger.Conformance.Tests;

/// <summary>libvirt's checkpoints cost a live bitmap each; here one costs the same however many there are.</summary>
public sealed class CheckpointCostTests
{
    private static readonly CancellationToken _never = CancellationToken.None;

    // Method: what passes between server and PostgreSQL is counted. A projection may read the event before at that moment,
    // so the cheapest of several is what one costs; the names are as long as each other.
    [Fact]
    public async Task A_checkpoint_is_made_and_removed_with_as_many_bytes_among_a_thousand_as_among_a_few()
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var proxy = new CuttingProxy(scratch["px"], cluster.Socket, seed: 1);
        var connection = $"Host={scratch["px"]};Username=postgres;Database=bitmapledger";
        await using var ledger = await OnAsync(connection);
        ledger.Json("volume", "create", "v", "--size", "1M");
        await using var qmp = await QmpClient.ConnectAsync(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"), [], _never);

        await AddAsync(0, 10);
        var few = await LeastAsync(10);
        for (var made = 10; made < 1000; made += 90)
            await AddAsync(made, 90);
        await BehindAsync(ledger);
        var many = await LeastAsync(2000);

        // A thousand rows of them would be 200 KB more.
        Assert.InRange(many, 1, few + 2000);

        async Task<long> LeastAsync(int first)
        {
            var least = long.MaxValue;
            for (var i = 0; i < 8; i++)
            {
                var before = proxy.Passed;
                await AddAsync(first + 5000, 1);
                await qmp.ExecuteAsync("block-checkpoint-remove", Named(first + 5000), _never);
                least = Math.Min(least, proxy.Passed - before);
            }

            return least;
        }

        Task<JsonNode?> AddAsync(int first, int count) => qmp.ExecuteAsync("transaction", new JsonObject
        {
            ["actions"] = new JsonArray([.. Enumerable.Range(first, count).Select(i => new JsonObject
            {
                ["type"] = "block-checkpoint-add",
                ["data"] = Named(i),
            })]),
        }, _never);
    }

    private static JsonObject Named(int number) => new() { ["name"] = $"c{number:0000}", ["nodes"] = new JsonArray("v") };

    private static async Task<Ledger> OnAsync(string connection)
    {
        Tool.Run(Path.Combine(Repository.Programs, "bml"), "db", "apply", "--database", connection).Expect();
        return await Ledger.StartAsync("--database", connection);
    }

    private static async Task BehindAsync(Ledger ledger)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
        while (ledger.Json("projection", "status").GetProperty("projections").EnumerateArray().Any(p => p.GetProperty("behind").GetInt64() > 0))
            await Task.Delay(50, limit.Token);
    }
}
