using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;
using Marten;
using Npgsql;
using Weasel.Postgresql;
using Weasel.Postgresql.Tables;
using static Weasel.Postgresql.SchemaUtils;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// The materialised bits of every bitmap and slice. <c>bitmap_bits</c> has a row a volume, which says up to which event it
/// is, so that a reader can fold what came since on top. Its latest writes are beside the bitmaps, in <c>unfolded</c>, so
/// that an event replaces these few bits and not those of every bitmap; <c>slice_bits</c> has a row a slice, since slices
/// seldom change. Rows of several versions stand side by side: <see cref="ProjectionVersions"/> says which counts.
/// </summary>
/// <param name="source">Connections.</param>
public sealed class BitmapBits(NpgsqlDataSource source)
{
    /// <summary>Name of the projection.</summary>
    public const string ProjectionName = "bitmap-bits";

    private static readonly JsonSerializerOptions _json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private const string Upsert =
        $"""
        insert into {LedgerSchema.Name}.bitmap_bits (volume_id, version, event, state, unfolded, names, bits, successors)
        values (?, ?, ?, ?::jsonb, nullif(?, ''::bytea), ?, ?, ?)
        on conflict (volume_id, version) do update set event = excluded.event, state = excluded.state, unfolded = excluded.unfolded,
        names = excluded.names, bits = excluded.bits, successors = excluded.successors
        """;

    // PostgreSQL does not write large columns anew that stay as they are.
    private const string UpdateUnfolded =
        $"""
        update {LedgerSchema.Name}.bitmap_bits set event = ?, state = ?::jsonb, unfolded = nullif(?, ''::bytea)
        where volume_id = ? and version = ?
        """;

    private static readonly string _selectPlace =
        $"""
        select a.version, coalesce(b.event, 0) from (select {ProjectionVersions.Active(ProjectionName)} as version) a
        left join {LedgerSchema.Name}.bitmap_bits b on b.volume_id = $1 and b.version = a.version
        """;

    private const string UpsertSlice =
        $"""
        insert into {LedgerSchema.Name}.slice_bits (volume_id, version, bitmap, slice, bits) values (?, ?, ?, ?, ?)
        on conflict (volume_id, version, bitmap, slice) do update set bits = excluded.bits
        """;

    private const string DeleteSlice =
        $"delete from {LedgerSchema.Name}.slice_bits where volume_id = ? and version = ? and bitmap = ? and slice = ?";

    /// <summary>Large bits are dense or small already: trying to compress them takes longer than writing them.</summary>
    internal const string OwnSql =
        $"""
        alter table {LedgerSchema.Name}.bitmap_bits alter column bits set storage external, alter column successors set storage external,
            alter column unfolded set storage external;
        alter table {LedgerSchema.Name}.slice_bits alter column bits set storage external;
        """;

    // One statement, so one snapshot: slices of a later row, or of another version, would not fit.
    private static readonly string _select =
        $"""
        select b.state::text, b.names, b.bits, b.successors, b.unfolded, {Slices("bitmap")}, {Slices("slice")}, {Slices("bits")}
        from {LedgerSchema.Name}.bitmap_bits b
        where b.volume_id = $1 and b.version = coalesce($2, {ProjectionVersions.Active(ProjectionName)})
        """;

    /// <summary>The table of bitmaps.</summary>
    public static Table Table { get; } = MakeTable();

    /// <summary>The table of slices.</summary>
    public static Table SliceTable { get; } = MakeSliceTable();

    /// <summary>A replay that stands where the row of a volume does; one that stands at the beginning when there is
    /// none.</summary>
    /// <returns>The caller disposes it.</returns>
    public Task<BitmapReplay> LoadAsync(Guid volumeId, CancellationToken cancellation) =>
        LoadAsync(volumeId, version: null, cancellation);

    /// <summary>The same for the row of some version; null for the one that counts.</summary>
    internal async Task<BitmapReplay> LoadAsync(Guid volumeId, int? version, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(_select);
        command.Parameters.Add(new() { Value = volumeId });
        command.Parameters.Add(new() { Value = (object?)version ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Integer });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        if (!await row.ReadAsync(cancellation))
            return new();
        var state = JsonSerializer.Deserialize<VolumeState>(row.GetString(0), _json)!;
        var names = await row.GetFieldValueAsync<string[]>(1, cancellation);
        var bits = await row.GetFieldValueAsync<byte[][]>(2, cancellation);
        var successors = await row.GetFieldValueAsync<byte[]?[]>(3, cancellation);
        var unfolded = await row.IsDBNullAsync(4, cancellation) ? null : await row.GetFieldValueAsync<byte[]>(4, cancellation);
        var bitmaps = await row.GetFieldValueAsync<string[]>(5, cancellation);
        var slices = await row.GetFieldValueAsync<long[]>(6, cancellation);
        var sliceBits = await row.GetFieldValueAsync<byte[][]>(7, cancellation);
        List<KeyValuePair<string, NativeBitmap>> maps = [.. names.Zip(bits.Select(b => Decode(volumeId, b)), KeyValuePair.Create)];
        foreach (var (name, successor) in names.Zip(successors))
            if (successor is not null)
                maps.Add(new(state.Bitmap(name)!.SuccessorName, Decode(volumeId, successor)));
        return new(
            state, maps, bitmaps.Zip(slices, sliceBits).Select(s => KeyValuePair.Create(new SliceName(s.First, s.Second), s.Third)),
            unfolded is null ? null : Decode(volumeId, unfolded));
    }

    /// <summary>The version that counts, and up to which event its row of a volume is; 0 when there is none.</summary>
    internal async Task<(int Version, long Event)> PlaceAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(_selectPlace);
        command.Parameters.Add(new() { Value = volumeId });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        await row.ReadAsync(cancellation);
        return (row.GetInt32(0), row.GetInt64(1));
    }

    /// <summary>Replaces the rows of a volume by where a replay stands that began there.</summary>
    /// <param name="operations">Takes what is to be done.</param>
    /// <param name="volumeId">The volume.</param>
    /// <param name="version">Of which version the rows are.</param>
    /// <param name="replay">Where it stands.</param>
    /// <param name="storedEvent">Up to which event the row is; 0 when there is none.</param>
    internal static void Store(
        IDocumentOperations operations, Guid volumeId, int version, BitmapReplay replay, long storedEvent)
    {
        var bitmaps = replay.State.Bitmaps;
        var state = JsonSerializer.Serialize(replay.State, _json);
        var unfolded = replay.Unfolded is { } map ? BitmapCodec.Encode(map) : [];
        if (storedEvent > 0 && replay.FoldedEvent <= storedEvent)
            operations.QueueSqlCommand(UpdateUnfolded, replay.State.Event, state, unfolded, volumeId, version);
        else
            operations.QueueSqlCommand(
                Upsert, volumeId, version, replay.State.Event, state, unfolded, bitmaps.Select(b => b.Name).ToArray(),
                bitmaps.Select(b => BitmapCodec.Encode(replay.FoldedBits(b.Name))).ToArray(),
                bitmaps.Select(b => b.Successor is null ? null : BitmapCodec.Encode(replay.FoldedBits(b.SuccessorName))).ToArray());
        foreach (var slice in replay.ChangedSlices)
        {
            if (replay.State.Bitmap(slice.Bitmap)?.Slice(slice.Slice) is null)
                operations.QueueSqlCommand(DeleteSlice, volumeId, version, slice.Bitmap, slice.Slice);
            else
                operations.QueueSqlCommand(UpsertSlice, volumeId, version, slice.Bitmap, slice.Slice, replay.EncodedSlice(slice));
        }
    }

    private static string Slices(string column) =>
        $"""
        (select coalesce(array_agg(s.{column} order by s.bitmap, s.slice), '{"{}"}') from {LedgerSchema.Name}.slice_bits s
         where s.volume_id = $1 and s.version = b.version)
        """;

    private static Table MakeTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "bitmap_bits", IdentifierUsage.General));
        table.AddColumn<Guid>("volume_id").AsPrimaryKey();
        table.AddColumn<int>("version").AsPrimaryKey();
        table.AddColumn<long>("event").NotNull();
        table.AddColumn("state", "jsonb").NotNull();
        table.AddColumn("names", "text[]").NotNull();
        table.AddColumn("bits", "bytea[]").NotNull();
        table.AddColumn("successors", "bytea[]").NotNull();
        table.AddColumn("unfolded", "bytea");
        return table;
    }

    private static Table MakeSliceTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "slice_bits", IdentifierUsage.General));
        table.AddColumn<Guid>("volume_id").AsPrimaryKey();
        table.AddColumn<int>("version").AsPrimaryKey();
        table.AddColumn<string>("bitmap").AsPrimaryKey();
        table.AddColumn<long>("slice").AsPrimaryKey();
        table.AddColumn("bits", "bytea").NotNull();
        return table;
    }

    private static NativeBitmap Decode(Guid volumeId, byte[] bytes)
    {
        var fault = BitmapCodec.TryRead(bytes, out var map);
        return map ?? throw new CorruptionException($"bitmap_bits of volume {volumeId}", 0, fault.ToString());
    }
}
