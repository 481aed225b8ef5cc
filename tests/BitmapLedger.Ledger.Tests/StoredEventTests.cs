using System.Text.Json.Nodes;
using BitmapLedger.Domain;
using BitmapLedger.Testing;

namespace BitmapLedger.Ledger.Tests;

/// <summary>Rows as earlier versions wrote them, and db/README.md shows them, are read back for ever.</summary>
public sealed class StoredEventTests(PostgresFixture postgres)
{
    // Method: each example of the table is put into mt_events as a row, read as an event, and written again: nothing of it is
    // lost or renamed.
    [Fact]
    public async Task Every_example_of_the_readme_reads_back_as_it_stands_there()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var examples = Examples().ToList();
        var stream = Guid.CreateVersion7();
        await using var connection = await ledger.Source.OpenConnectionAsync();
        await ExecuteAsync(connection, "insert into bitmapledger.mt_streams (id, type, version) values ($1, 'volume_state', $2)", stream, (long)examples.Count);
        foreach (var ((type, json), i) in examples.Select((e, i) => (e, i)))
            await ExecuteAsync(
                connection,
                """
                insert into bitmapledger.mt_events (seq_id, id, stream_id, version, data, type, timestamp)
                values ($1, $2, $3, $4, $5::jsonb, $6, now())
                """,
                100_000L + i, Guid.CreateVersion7(), stream, 1L + i, json, type);

        List<string> read = [];
        await foreach (var e in ledger.Reader.ReadAsync(stream, 0, long.MaxValue, CancellationToken.None))
        {
            var (type, json) = examples[read.Count];
            Assert.IsType<IVolumeEvent>(e.Data, exactMatch: false);
            Assert.Equal(Sorted(json), Sorted(ledger.Store.Options.Serializer().ToJson(e.Data)));
            read.Add(type);
        }

        Assert.Equal(examples.Select(e => e.Type), read);
        var documented = examples.Select(e => e.Type.Replace("_", "", StringComparison.Ordinal)).Append("writesrecorded").Append("historycoalesced");
        var known = typeof(IVolumeEvent).Assembly.GetTypes()
            .Where(t => t.IsClass && t.IsAssignableTo(typeof(IVolumeEvent))).Select(t => t.Name.ToLowerInvariant());
        Assert.Equal(known.Order(StringComparer.Ordinal), documented.Distinct().Order(StringComparer.Ordinal));
    }

    /// <summary>Rows of the table: <c>| `type`, `type` | `json`… |</c>; "…" stands for some bytes.</summary>
    private static IEnumerable<(string Type, string Json)> Examples()
    {
        foreach (var line in File.ReadLines(Path.Combine(Repository.Root, "db", "README.md")))
        {
            if (line.Split('|') is not ["", var types, var example, ..] || example.Split('`') is not [_, ['{', ..] and var json, ..])
                continue;
            foreach (var type in types.Split('`').Where((_, i) => i % 2 == 1))
                yield return (type, json.Replace("…", "AAAA", StringComparison.Ordinal));
        }
    }

    private static string Sorted(string json) => Sort(JsonNode.Parse(json)!).ToJsonString();

    private static JsonNode Sort(JsonNode node) => node switch
    {
        JsonObject o => new JsonObject(o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(
            p => KeyValuePair.Create(p.Key, p.Value is null ? null : Sort(p.Value)))),
        JsonArray a => new JsonArray([.. a.Select(i => i is null ? null : Sort(i))]),
        _ => JsonNode.Parse(node.ToJsonString())!,
    };

    private static async Task ExecuteAsync(Npgsql.NpgsqlConnection connection, string sql, params object[] values)
    {
        await using var command = new Npgsql.NpgsqlCommand(sql, connection);
        foreach (var value in values)
            command.Parameters.Add(new() { Value = value });
        await command.ExecuteNonQueryAsync();
    }
}
