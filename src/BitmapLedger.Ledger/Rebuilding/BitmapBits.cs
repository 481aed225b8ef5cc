using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;
using Npgsql;
using Weasel.Postgresql;
using Weasel.Postgresql.Tables;
using static Weasel.Postgresql.SchemaUtils;

namespace BitmapLedger.Ledger.Rebuilding;

/// <summary>
/// The materialised bits of every bitmap, a row a volume: <c>bitmap_bits (volume_id, event, state, names, bits)</c>.
/// Each
/// row says up to which event it is, so that a reader can fold what came since on top.
/// </summary>
/// <param name="source">Connections.</param>
public sealed class BitmapBits(NpgsqlDataSource source)
{
    /// <summary>Name of the projection.</summary>
    public const string ProjectionName = "bitmap-bits";

    private static readonly JsonSerializerOptions _json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Replaces the row of a volume.</summary>
    internal const string Upsert =
        $"""
        insert into {LedgerSchema.Name}.bitmap_bits (volume_id, event, state, names, bits) values (?, ?, ?::jsonb, ?, ?)
        on conflict (volume_id) do update set event = excluded.event, state = excluded.state, names = excluded.names, bits = excluded.bits
        """;

    /// <summary>The table.</summary>
    public static Table Table { get; } = MakeTable();

    /// <summary>A replay that stands where the row of a volume does; one that stands at the beginning when there is
    /// none.</summary>
    /// <returns>The caller disposes it.</returns>
    public async Task<BitmapReplay> LoadAsync(Guid volumeId, CancellationToken cancellation)
    {
        await using var command = source.CreateCommand(
            $"select state::text, names, bits from {LedgerSchema.Name}.bitmap_bits where volume_id = $1");
        command.Parameters.Add(new() { Value = volumeId });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        if (!await row.ReadAsync(cancellation))
            return new();
        var state = JsonSerializer.Deserialize<VolumeState>(row.GetString(0), _json)!;
        var names = await row.GetFieldValueAsync<string[]>(1, cancellation);
        var bits = await row.GetFieldValueAsync<byte[][]>(2, cancellation);
        return new(state, names.Zip(bits.Select(b => Decode(volumeId, b)), KeyValuePair.Create));
    }

    /// <summary>The values of <see cref="Upsert"/> for where a replay stands.</summary>
    internal static object[] Row(Guid volumeId, BitmapReplay replay) =>
    [
        volumeId, replay.State.Event, JsonSerializer.Serialize(replay.State, _json),
        replay.State.Bitmaps.Select(b => b.Name).ToArray(),
        replay.State.Bitmaps.Select(b => BitmapCodec.Encode(replay.Bits(b.Name))).ToArray(),
    ];

    private static Table MakeTable()
    {
        var table = new Table(new PostgresqlObjectName(LedgerSchema.Name, "bitmap_bits", IdentifierUsage.General));
        table.AddColumn<Guid>("volume_id").AsPrimaryKey();
        table.AddColumn<long>("event").NotNull();
        table.AddColumn("state", "jsonb").NotNull();
        table.AddColumn("names", "text[]").NotNull();
        table.AddColumn("bits", "bytea[]").NotNull();
        return table;
    }

    private static NativeBitmap Decode(Guid volumeId, byte[] bytes)
    {
        var fault = BitmapCodec.TryRead(bytes, out var map);
        return map ?? throw new CorruptionException($"bitmap_bits of volume {volumeId}", 0, fault.ToString());
    }
}
