using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Rebuilding;
using JasperFx;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Storing;

/// <summary>The schema in the database: its version, how it is made, and what a server must guarantee.</summary>
/// <param name="store">The store whose schema it is.</param>
/// <param name="source">Connections.</param>
public sealed class LedgerSchema(IDocumentStore store, NpgsqlDataSource source)
{
    /// <summary>Name of the schema.</summary>
    public const string Name = "bitmapledger";

    /// <summary>What Marten calls the blocks of writes in the column <c>type</c> of the events.</summary>
    internal const string WritesType = "writes_recorded";

    /// <summary>What it calls the events that stand for coalesced writes.</summary>
    internal const string CoalescedType = "history_coalesced";

    /// <summary>Only commands, in the words of PostgreSQL: neither writes nor what is left of them.</summary>
    internal const string CommandsFilter = $"and type <> '{WritesType}' and type <> '{CoalescedType}'";

    /// <summary>Raised with every change of the schema.</summary>
    public const int Version = 7;

    private const string OwnSql =
        $"""
        create table if not exists {Name}.schema_version (version integer not null);
        alter table {Name}.mt_events alter column bdata set storage external;
        {UnionNodes.OwnSql}
        {BitmapBits.OwnSql}
        """;

    /// <summary>Compares what is there with what this program needs.</summary>
    public async Task<SchemaAnswer> StatusAsync(CancellationToken cancellation)
    {
        await using var command = source.CreateCommand($"select to_regclass('{Name}.schema_version') is not null");
        var found = await command.ExecuteScalarAsync(cancellation) is true
            ? await FoundAsync(cancellation)
            : 0;
        return new(found, Version, found == Version);
    }

    /// <summary>Creates or patches the schema.</summary>
    /// <exception cref="LedgerException">A newer program made it.</exception>
    public async Task<SchemaAnswer> ApplyAsync(CancellationToken cancellation)
    {
        var status = await StatusAsync(cancellation);
        RefuseNewer(status);
        var upgrade = new StateUpgrade(store, source);
        if (StateUpgrade.IsNeeded(status.Version))
            await upgrade.DropBitsAsync(cancellation);
        else if (StateUpgrade.LacksVersions(status.Version))
            await upgrade.NumberBitsAsync(cancellation);
        await store.Storage.ApplyAllConfiguredChangesToDatabaseAsync(AutoCreate.CreateOrUpdate);
        if (StateUpgrade.IsNeeded(status.Version))
            await upgrade.RebuildStatesAsync(cancellation);
        await using var command = source.CreateCommand(
            $"{OwnSql} {ProjectionVersions.Seed} delete from {Name}.schema_version; insert into {Name}.schema_version values ({Version});");
        await command.ExecuteNonQueryAsync(cancellation);
        return await StatusAsync(cancellation);
    }

    /// <summary>Refuses a database that is not ready for this program.</summary>
    /// <exception cref="LedgerException">The schema is missing, older or newer.</exception>
    public async Task RequireAsync(CancellationToken cancellation)
    {
        var status = await StatusAsync(cancellation);
        RefuseNewer(status);
        if (!status.Current)
            throw new LedgerException(
                ErrorCode.Failed,
                $"The database has schema version {status.Version} of BitmapLedger, this program needs {status.Expected}",
                "run: bml db apply --database CONN");
    }

    /// <summary>Refuses a server that may forget what it has acknowledged.</summary>
    /// <exception cref="LedgerException"><c>fsync</c> is off.</exception>
    public async Task RequireDurableAsync(CancellationToken cancellation)
    {
        await using var command = source.CreateCommand("select current_setting('fsync')");
        if (await command.ExecuteScalarAsync(cancellation) is not "on")
            throw new LedgerException(
                ErrorCode.Failed, "PostgreSQL runs with fsync=off and may forget what it has acknowledged", "set fsync=on");
    }

    /// <summary>The whole schema as SQL, as <c>db/schema.sql</c> has it.</summary>
    public string Dump() =>
        $"{store.Storage.ToDatabaseScript().ReplaceLineEndings("\n").TrimEnd()}\n\n{OwnSql.ReplaceLineEndings("\n")}\n";

    private async Task<int> FoundAsync(CancellationToken cancellation)
    {
        await using var command = source.CreateCommand($"select coalesce(max(version), 0) from {Name}.schema_version");
        return (int)(await command.ExecuteScalarAsync(cancellation))!;
    }

    private static void RefuseNewer(SchemaAnswer status)
    {
        if (status.Version > status.Expected)
            throw new LedgerException(
                ErrorCode.Failed,
                $"The database has schema version {status.Version} of BitmapLedger, newer than the {status.Expected} of this program",
                "run a newer bml");
    }
}
