using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A database of the user's own: its owner makes the schema, the server has no right to.</summary>
public sealed class OwnDatabaseTests : OnSeparateCluster
{
    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Tool.Run(
            "psql", "-h", Cluster.Socket, "-U", "postgres", "-d", "bitmapledger", "-v", "ON_ERROR_STOP=1", "-q",
            "-f", Path.Combine(Repository.Root, "db", "roles.sql")).Expect();
    }

    [Fact]
    public async Task The_owner_applies_the_schema_and_the_server_role_serves_without_any_right_to_change_it()
    {
        var before = Db("status", "bitmapledger_server").Expect(2);
        Assert.Contains("\"version\":0", before.Output, StringComparison.Ordinal);
        var serving = Tool.Run(
            Program, "serve", "--data-dir", Scratch("d"), "--http", "127.0.0.1:0", "--database", As("bitmapledger_server")).Expect(1);
        Assert.Contains("bml db apply", serving.Error, StringComparison.Ordinal);

        Db("apply", "bitmapledger_owner").Expect();
        Db("status", "bitmapledger_server").Expect();
        Assert.Contains("permission denied", Refused("create table bitmapledger.own (i int)"), StringComparison.Ordinal);
        Assert.Contains("must be owner", Refused("alter table bitmapledger.mt_events add column i int"), StringComparison.Ordinal);

        await using var ledger = await Ledger.StartAsync("--database", As("bitmapledger_server"));
        ledger.Json("volume", "create", "v", "--size", "64M");
        ledger.Json("bitmap", "add", "v", "b0");
        NbdShell.Write(ledger.Export("v"), [(0, 512), (1 << 20, 4096)]);
        ledger.Json("checkpoint", "create", "v", "c");
        ledger.Json("projection", "rebuild");
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
        await ledger.StopAsync();
        await ledger.ServeAsync("--database", As("bitmapledger_server"));
        Assert.True(ledger.Json("verify", "v").GetProperty("equal").GetBoolean());
    }

    [Fact]
    public void A_schema_of_a_newer_version_is_refused_by_both_versions_and_left_alone()
    {
        Db("apply", "bitmapledger_owner").Expect();
        Cluster.Sql("update bitmapledger.schema_version set version = 99");

        foreach (var answer in new[]
        {
            Db("apply", "bitmapledger_owner").Expect(1),
            Tool.Run(
                Program, "serve", "--data-dir", Scratch("d"), "--http", "127.0.0.1:0", "--database", As("bitmapledger_server")).Expect(1),
        })
        {
            Assert.Contains("schema version 99", answer.Error, StringComparison.Ordinal);
            Assert.Contains("newer", answer.Error, StringComparison.Ordinal);
        }

        Assert.Equal("99", Cluster.Sql("select version from bitmapledger.schema_version"));
    }

    private static string Program => Path.Combine(Repository.Programs, "bml");

    private string As(string role) => $"Host={Cluster.Socket};Username={role};Database=bitmapledger";

    private ToolResult Db(string verb, string role) =>
        Tool.Run(Program, "db", verb, "--json", "--data-dir", Scratch("d"), "--database", As(role));

    private string Refused(string sql) =>
        Tool.Run("psql", "-h", Cluster.Socket, "-U", "bitmapledger_server", "-d", "bitmapledger", "-v", "ON_ERROR_STOP=1", "-c", sql)
            .Expect(1).Error;
}
