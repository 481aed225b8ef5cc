using BitmapLedger.Ledger.Storing;
using Npgsql;
using Weasel.Postgresql;
using Weasel.Postgresql.Tables;
using static Weasel.Postgresql.SchemaUtils;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>Which versions of a projection there are.</summary>
/// <param name="Active">The one that answers are made of, and that the daemon keeps up to date.</param>
/// <param name="Building">The one that is built beside it; null when none is.</param>
public sealed record ProjectionVersion(int Active, int? Building);

/// <summary>
/// Versions of projections side by side: rows of each carry its number, and one row here says which number counts. A rebuild
/// fills the next number and then changes this row, so that no answer ever finds less than there was.
/// </summary>
/// <param name="source">Connections.</param>
public sealed class ProjectionVersions(NpgsqlDataSource source)
{
    private const string Name = $"{LedgerSchema.Name}.projection_versions";

    /// <summary>Gives each projection its first version; those that have one keep it.</summary>
    internal const string Seed =
        $"""
        insert into {Name} (projection, active, latest)
        values ('{BitmapBits.ProjectionName}', 1, 1), ('{Indexing.UnionNodes.ProjectionName}', 1, 1) on conflict do nothing;
        """;

    /// <summary>The table.</summary>
    public static Table Table { get; } = MakeTable();

    /// <summary>An expression for the version that counts, as of the snapshot of the statement.</summary>
    internal static string Active(string projection) => $"(select v.active from {Name} v where v.projection = '{projection}')";

    /// <summary>An expression for the version that counts until the transaction ends: a switch waits for it.</summary>
    internal static string ActiveHeld(string projection) =>
        $"(select v.active from {Name} v where v.projection = '{projection}' for share)";

    /// <summary>The versions of a projection.</summary>
    public async Task<ProjectionVersion> ReadAsync(string projection, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand($"select active, building from {Name} where projection = $1");
        command.Parameters.Add(new() { Value = projection });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        return await row.ReadAsync(cancellation)
            ? new(row.GetInt32(0), await row.IsDBNullAsync(1, cancellation) ? null : row.GetInt32(1))
            : throw new InvalidOperationException($"projection '{projection}' has no version");
    }

    /// <summary>Begins the next version; one that is being built already goes on. No number comes twice: rows that one left
    /// behind which was given up are not taken for a beginning.</summary>
    /// <returns>Its number.</returns>
    public async Task<int> BeginAsync(string projection, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(
            $"update {Name} set building = coalesce(building, latest + 1), latest = coalesce(building, latest + 1) where projection = $1 returning building");
        command.Parameters.Add(new() { Value = projection });
        return (int)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Gives up the version that is being built.</summary>
    public async Task AbandonAsync(string projection, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand($"update {Name} set building = null where projection = $1");
        command.Parameters.Add(new() { Value = projection });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Makes the version that was built the one that counts.</summary>
    /// <param name="projection">Of which projection.</param>
    /// <param name="last">Brings it up to date. Pages of the daemon that hold the version wait meanwhile and then go to the
    /// new one: what they may have missed there must be in it.</param>
    /// <param name="cancellation">Ends the attempt; nothing has changed then.</param>
    public async Task SwitchAsync(string projection, Func<Task> last, CancellationToken cancellation)
    {
        await using var connection = await source.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await ExecuteAsync($"select 1 from {Name} where projection = $1 for update");
        await last();
        await ExecuteAsync($"update {Name} set active = building, building = null where projection = $1 and building is not null");
        await transaction.CommitAsync(cancellation);

        async Task ExecuteAsync(string sql)
        {
            await using var command = new NpgsqlCommand(sql, connection, transaction) { Parameters = { new() { Value = projection } } };
            await command.ExecuteNonQueryAsync(cancellation);
        }
    }

    /// <summary>Drops the rows of every version but the one that counts and the one that is being built.</summary>
    /// <param name="projection">Of which projection.</param>
    /// <param name="tables">Its tables.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task DropOthersAsync(string projection, IEnumerable<Table> tables, CancellationToken cancellation)
    {
        foreach (var table in tables)
        {
            await using var command = source.CreateCommand(
                $"""
                delete from {table.Identifier.QualifiedName} t using {Name} v
                where v.projection = $1 and t.version <> v.active and t.version is distinct from v.building
                """);
            command.Parameters.Add(new() { Value = projection });
            await command.ExecuteNonQueryAsync(cancellation);
        }
    }

    private static Table MakeTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "projection_versions", IdentifierUsage.General));
        table.AddColumn<string>("projection").AsPrimaryKey();
        table.AddColumn<int>("active").NotNull();
        table.AddColumn<int>("building");
        table.AddColumn<int>("latest").NotNull();
        return table;
    }
}
