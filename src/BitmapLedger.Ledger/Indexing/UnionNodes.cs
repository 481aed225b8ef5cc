using System.Globalization;
using System.Text.Json;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;
using Weasel.Postgresql;
using Weasel.Postgresql.Tables;
using static Weasel.Postgresql.SchemaUtils;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// The union tree in PostgreSQL, a row a node: which blocks a stretch of a volume's events touched. Rows are added and
/// never changed; whatever is missing is read from the stream instead, so that no answer depends on what is here. Rows of
/// several versions stand side by side: <see cref="ProjectionVersions"/> says which counts.
/// </summary>
public static class UnionNodes
{
    /// <summary>Name of the projection.</summary>
    public const string ProjectionName = "union-tree";

    /// <summary>Name of the index by which commands are found among the blocks of writes.</summary>
    public const string CommandsIndex = "mt_events_commands";

    /// <summary>
    /// What Marten does not make: nodes are fetched in part, and commands are found without passing over every block of
    /// writes.
    /// </summary>
    internal const string OwnSql =
        $"""
        alter table {LedgerSchema.Name}.union_nodes alter column bits set storage external;
        create index if not exists {CommandsIndex} on {LedgerSchema.Name}.mt_events (stream_id, version) where type <> '{LedgerSchema.WritesType}';
        """;

    /// <summary>Nodes of this level say what the volume was behind them: every 256 events a place from which on only commands
    /// need be followed.</summary>
    internal const int StateLevel = 2;

    /// <summary>Adds a node to the version that counts; one that is there stays as it is.</summary>
    internal static readonly string Insert = InsertInto(ProjectionVersions.ActiveHeld(ProjectionName));

    /// <summary>The table.</summary>
    public static Table Table { get; } = MakeTable();

    /// <summary>How <c>state</c> is written.</summary>
    internal static JsonSerializerOptions StateJson { get; } = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary><see cref="Insert"/> for a version that is being built.</summary>
    internal static string InsertInto(int version) => InsertInto(version.ToString(CultureInfo.InvariantCulture));

    /// <summary>The values of <see cref="Insert"/>.</summary>
    /// <param name="volumeId">The volume.</param>
    /// <param name="node">The node.</param>
    /// <param name="state">The volume behind it; null for a level that does not say it.</param>
    internal static object[] Row(Guid volumeId, UnionNode node, VolumeState? state) =>
    [
        volumeId, node.Place.Level, node.Place.First, node.Place.Last, node.FirstLsn, node.LastLsn,
        node.Granularity.Bytes, node.Lost, node.Inexact, node.Bits.ToArray(),
        state is null ? "" : JsonSerializer.Serialize(state, StateJson),
    ];

    private static string InsertInto(string version) =>
        $"""
        insert into {LedgerSchema.Name}.union_nodes
        (volume_id, version, level, first_event, last_event, first_lsn, last_lsn, granularity, lost, inexact, bits, state)
        values (?, {version}, ?, ?, ?, ?, ?, ?, ?, ?, ?, nullif(?, '')::jsonb) on conflict do nothing
        """;

    private static Table MakeTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "union_nodes", IdentifierUsage.General));
        table.AddColumn<Guid>("volume_id").AsPrimaryKey();
        table.AddColumn<int>("version").AsPrimaryKey();
        table.AddColumn<int>("level").AsPrimaryKey();
        table.AddColumn<long>("first_event").AsPrimaryKey();
        table.AddColumn<long>("last_event").NotNull();
        table.AddColumn<long>("first_lsn").NotNull();
        table.AddColumn<long>("last_lsn").NotNull();
        table.AddColumn<long>("granularity").NotNull();
        table.AddColumn<bool>("lost").NotNull();
        table.AddColumn<bool>("inexact").NotNull();
        table.AddColumn("bits", "bytea").NotNull();
        table.AddColumn("state", "jsonb");
        return table;
    }
}
