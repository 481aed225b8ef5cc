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
/// seldom change.
/// </summary>
/// <param name="source">Connections.</param>
public sealed class BitmapBits(NpgsqlDataSource source)
{
    /// <summary>Name of the projection.</summary>
    public const string ProjectionName = "bitmap-bits";

    private static readonly JsonSerializerOptions _json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private const string Upsert =
        $"""
        insert into {LedgerSchema.Name}.bitmap_bits (volume_id, event, state, unfolded, names, bits, successors)
        values (?, ?, ?::jsonb, nullif(?, ''::bytea), ?, ?, ?)
        on conflict (volume_id) do update set event = excluded.event, state = excluded.state, unfolded = excluded.unfolded,
        names = excluded.names, bits = excluded.bits, successors = excluded.successors
        """;

    // PostgreSQL does not write large columns anew that stay as they are.
    private const string UpdateUnfolded =
        $"""
        update {LedgerSchema.Name}.bitmap_bits set event = ?, state = ?::jsonb, unfolded = nullif(?, ''::bytea) where volume_id = ?
        """;

    private const string SelectEvent = $"select event from {LedgerSchema.Name}.bitmap_bits where volume_id = $1";

    private const string UpsertSlice =
        $"""
        insert into {LedgerSchema.Name}.slice_bits (volume_id, bitmap, slice, bits) values (?, ?, ?, ?)
        on conflict (volume_id, bitmap, slice) do update set bits = excluded.bits
        """;

    private const string DeleteSlice =
        $"delete from {LedgerSchema.Name}.slice_bits where volume_id = ? and bitmap = ? and slice = ?";

    // One statement, so one snapshot: slices of a later row would not fit.
    private const string Select =
        $"""
        select b.state::text, b.names, b.bits, b.successors, b.unfolded,
               (select coalesce(array_agg(s.bitmap order by s.bitmap, s.slice), '{"{}"}') from {LedgerSchema.Name}.slice_bits s where s.volume_id = $1),
               (select coalesce(array_agg(s.slice order by s.bitmap, s.slice), '{"{}"}') from {LedgerSchema.Name}.slice_bits s where s.volume_id = $1),
               (select coalesce(array_agg(s.bits order by s.bitmap, s.slice), '{"{}"}') from {LedgerSchema.Name}.slice_bits s where s.volume_id = $1)
        from {LedgerSchema.Name}.bitmap_bits b where b.volume_id = $1
        """;

    /// <summary>The table of bitmaps.</summary>
    public static Table Table { get; } = MakeTable();

    /// <summary>The table of slices.</summary>
    public static Table SliceTable { get; } = MakeSliceTable();

    /// <summary>A replay that stands where the row of a volume does; one that stands at the beginning when there is
    /// none.</summary>
    /// <returns>The caller disposes it.</returns>
    public async Task<BitmapReplay> LoadAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(Select);
        command.Parameters.Add(new() { Value = volumeId });
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

    /// <summary>Up to which event the row of a volume is; 0 when there is none.</summary>
    internal async Task<long> EventAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(SelectEvent);
        command.Parameters.Add(new() { Value = volumeId });
        return await command.ExecuteScalarAsync(cancellation) as long? ?? 0;
    }

    /// <summary>Replaces the rows of a volume by where a replay stands that began there.</summary>
    /// <param name="operations">Takes what is to be done.</param>
    /// <param name="volumeId">The volume.</param>
    /// <param name="replay">Where it stands.</param>
    /// <param name="storedEvent">Up to which event the row is; 0 when there is none.</param>
    internal static void Store(IDocumentOperations operations, Guid volumeId, BitmapReplay replay, long storedEvent)
    {
        var bitmaps = replay.State.Bitmaps;
        var state = JsonSerializer.Serialize(replay.State, _json);
        var unfolded = replay.Unfolded is { } map ? BitmapCodec.Encode(map) : [];
        if (storedEvent > 0 && replay.FoldedEvent <= storedEvent)
            operations.QueueSqlCommand(UpdateUnfolded, replay.State.Event, state, unfolded, volumeId);
        else
            operations.QueueSqlCommand(
                Upsert, volumeId, replay.State.Event, state, unfolded, bitmaps.Select(b => b.Name).ToArray(),
                bitmaps.Select(b => BitmapCodec.Encode(replay.FoldedBits(b.Name))).ToArray(),
                bitmaps.Select(b => b.Successor is null ? null : BitmapCodec.Encode(replay.FoldedBits(b.SuccessorName))).ToArray());
        foreach (var slice in replay.ChangedSlices)
        {
            if (replay.State.Bitmap(slice.Bitmap)?.Slice(slice.Slice) is null)
                operations.QueueSqlCommand(DeleteSlice, volumeId, slice.Bitmap, slice.Slice);
            else
                operations.QueueSqlCommand(UpsertSlice, volumeId, slice.Bitmap, slice.Slice, replay.EncodedSlice(slice));
        }
    }

    private static Table MakeTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "bitmap_bits", IdentifierUsage.General));
        table.AddColumn<Guid>("volume_id").AsPrimaryKey();
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
