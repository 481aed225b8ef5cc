using System.Text.Json.Nodes;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>G3: a PostgreSQL that stops in the middle of what it was asked, and says no more, keeps nobody waiting.</summary>
public sealed class HangTests : OnSeparateCluster
{
    private const int AnswersBefore = 5;

    private const string Clear = """{"execute":"block-dirty-bitmap-clear","arguments":{"node":"v","name":"b0"}}""";

    // Method: PostgreSQL goes on only when all have been told, however long that takes.
    [Fact]
    public async Task Commands_and_questions_that_are_under_way_when_postgres_hangs_are_told_busy_while_it_hangs()
    {
        await using var ledger = await Ledgers.OnAsync(Cluster.ConnectionString);
        ledger.Json("volume", "create", "v", "--size", "1G");
        ledger.Json("bitmap", "add", "v", "b0");
        using var writer = new AcknowledgedWrites(ledger.Export("v"), 0);
        List<string> sent = [];

        Task<string>[] clients =
        [
            UntilBusyAsync(api => api.SendAsync("POST", "/v1/volumes/v/bitmaps/b0/clear", body: null)),
            UntilBusyAsync(api =>
            {
                sent.Add($"c{sent.Count}");
                return api.SendAsync("POST", "/v1/checkpoints", $$"""{"name":"{{sent[^1]}}","volumes":["v"]}""", $"Idempotency-Key: {sent[^1]}");
            }),
            UntilBusyAsync(api => api.GetAsync("/v1/volumes/v/changed?from=start")),
            Task.Run(UntilBusyOverQmp),
        ];
        var told = Task.WhenAll(clients);
        await writer.UntilAsync(200);
        while (sent.Count < AnswersBefore && !told.IsCompleted)
            await Task.Delay(5);
        Cluster.Freeze();
        foreach (var answer in await told)
        {
            Assert.Contains("PostgreSQL is away: it ", answer, StringComparison.Ordinal);
            Assert.Contains("answer", answer, StringComparison.Ordinal);
        }

        await writer.UntilAsync(writer.Sectors.Count + 200);
        Cluster.Thaw();

        // Each is asked for again under its id: those that were left under way, too.
        foreach (var name in sent)
            await ledger.AnswersAsync("checkpoint", "create", "v", name, "--command-id", name);
        await Ledgers.AssertWholeAsync(ledger, writer);
        var made = ledger.Json("history", "v", "--type", "CheckpointCreated").GetProperty("events").EnumerateArray()
            .Select(e => e.GetProperty("data").GetProperty("name").GetString());
        Assert.Equal(sent, made);

        async Task<string> UntilBusyAsync(Func<Api, Task<ApiAnswer>> ask)
        {
            using var api = new Api(ledger);
            while (true)
                if (await ask(api) is { Status: not 200 } refused)
                    return refused.Expect(503).Text;
        }

        string UntilBusyOverQmp()
        {
            using var qmp = new QmpLines(Path.Combine(ledger.DataDirectory, "run", "qmp.sock"));
            while (true)
                if (JsonNode.Parse(qmp.Ask(Clear)[0])!["error"] is { } refused)
                    return (string)refused["desc"]!;
        }
    }
}
