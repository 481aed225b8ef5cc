using System.Diagnostics;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Journal;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;
using JasperFx.Events;
using Marten;
using Npgsql;
using NpgsqlTypes;

namespace BitmapLedger.Bench;

/// <summary>
/// Writes a second from the journal into PostgreSQL by the shipper, beside three ways to write the same down without it, in
/// turn in one run; and what a write takes there. Random 4 KiB writes over 1 TiB, one volume, no agent.
/// </summary>
internal static class LedgerFloors
{
    private const long Size = 1L << 40;
    private const int ShippedWrites = 1 << 20;
    private const int SingleEvents = 20_000;
    private const int CopiedRows = 200_000;
    private const int CommitWrites = 1000;
    private const int BlockWrites = 16_384;
    private const int BlocksOfCommit = 4;
    private static readonly CancellationToken _none = CancellationToken.None;

    public static async Task<IEnumerable<string>> RunAsync(int rounds)
    {
        using var scratch = new ScratchDirectory();
        await using var cluster = await SeparateCluster.StartAsync(scratch["pg"]);
        await using var source = LedgerRegistration.DataSource(cluster.ConnectionString);
        await using var store = DocumentStore.For(o => LedgerRegistration.Configure(o, source));
        await new LedgerSchema(store, source).ApplyAsync(_none);
        await using var single = DocumentStore.For(o => ConfigureSingle(o, source));
        await single.Storage.ApplyAllConfiguredChangesToDatabaseAsync();
        await SqlAsync(source, Tables);
        List<double> ours = [], events = [], copy = [], packed = [];
        var before = await BytesAsync(source, "bitmapledger");
        for (var round = -1; round < rounds; round++)
        {
            var writes = Writes(round);
            double[] speeds =
            [
                ShippedWrites / await SecondsAsync(await ShippingAsync(store, scratch[$"j{round + 1}"], writes)),
                SingleEvents / await SecondsAsync(() => AppendSinglyAsync(single, writes)),
                CopiedRows / await SecondsAsync(() => CopyAsync(source, writes)),
                ShippedWrites / await SecondsAsync(Inserting(source, writes)),
            ];
            if (round < 0)
                continue;
            ours.Add(speeds[0]);
            events.Add(speeds[1]);
            copy.Add(speeds[2]);
            packed.Add(speeds[3]);
        }

        var shipped = (await BytesAsync(source, "bitmapledger") - before) / (double)(ShippedWrites * (rounds + 1L));
        var copied = await BytesAsync(source, "peer_copy") / (double)(CopiedRows * (rounds + 1L));
        return
        [
            Row("one Marten event a write, Quick append, 1,000 a commit", ours, events, "50"),
            Row("Npgsql's binary COPY, one row a write, 1,000 a commit", ours, copy, "5"),
            Row("Npgsql inserting the same packed bytes", ours, packed, "0.4"),
            $"| bytes a write in PostgreSQL, indexes and all, against that COPY table with an index on offset | {shipped:0.00} | {copied:0.00} " +
            $"| 1/{copied / shipped:0.0} | 1/15 |",
        ];
    }

    private static string Row(string peer, List<double> ours, List<double> theirs, string floor) =>
        $"| writes shipped to PostgreSQL a second, random 4 KiB, against {peer} | {Median.Of(ours).Show("N0")} | {Median.Of(theirs).Show("N0")} " +
        $"| {Median.Of(ours.Zip(theirs, (o, t) => o / t)).Show("0.00")} | {floor} |";

    private const string Tables =
        """
        create schema peer_copy;
        create table peer_copy.writes (
            lsn bigint not null, at timestamptz not null, "offset" bigint not null, length integer not null, kind smallint not null,
            connection integer not null);
        create index on peer_copy.writes ("offset");
        create schema peer_packed;
        create table peer_packed.blocks (volume uuid not null, event bigint not null, bdata bytea not null, primary key (volume, event));
        alter table peer_packed.blocks alter column bdata set storage external;
        """;

    /// <summary>A journal full of writes; what is timed is to ship them all.</summary>
    private static async Task<Func<Task>> ShippingAsync(DocumentStore store, string directory, SingleWrite[] writes)
    {
        var settings = new LedgerSettings(directory, JournalOptions.QuotaBytesDefault, OwnCluster: false);
        var volume = Guid.CreateVersion7();
        var streams = new VolumeStreams(store, TimeProvider.System);
        using var journal = JournalWriter.Open(
            new(settings.Journal(volume), volume, JournalOptions.QuotaBytesDefault, 0, TimeProvider.System));
        var connection = journal.Connect("unix:pid=1,uid=0");
        foreach (var requests in writes.Select(w => new WriteRequest(w.Kind, w.Offset, w.Length)).Chunk(4096))
            if (!journal.Reserve(requests.Length, wait: false) || !journal.TryAppend(requests, connection, out _))
                throw new InvalidOperationException("the journal is full");
        await streams.AppendAsync(
            [new(volume, 0, [new(new VolumeCreated($"v{volume}", Size, "file:/v", "/v", false, "process", "stall", 0), DateTimeOffset.UnixEpoch)])],
            null, null, _none);
        var shipper = new Shipper(streams, new NoAgent(), settings, TimeProvider.System);
        return async () =>
        {
            await shipper.ShipAllAsync(volume, _none);
            shipper.Forget(volume);
        };
    }

    private static async Task AppendSinglyAsync(DocumentStore store, SingleWrite[] writes)
    {
        var stream = Guid.CreateVersion7();
        foreach (var commit in writes.Take(SingleEvents).Chunk(CommitWrites))
        {
            await using var session = store.LightweightSession();
            session.Events.Append(stream, [.. commit.Select(object (w) => new Wrote(w.Offset, w.Length, w.TimeMicroseconds))]);
            await session.SaveChangesAsync();
        }
    }

    private static async Task CopyAsync(NpgsqlDataSource source, SingleWrite[] writes)
    {
        await using var connection = await source.OpenConnectionAsync();
        foreach (var commit in writes.Take(CopiedRows).Chunk(CommitWrites))
        {
            await using var import = await connection.BeginBinaryImportAsync(
                "copy peer_copy.writes (lsn, at, \"offset\", length, kind, connection) from stdin (format binary)");
            foreach (var w in commit)
            {
                await import.StartRowAsync();
                await import.WriteAsync(w.Lsn, NpgsqlDbType.Bigint);
                await import.WriteAsync(DateTimeOffset.UnixEpoch.AddMicroseconds(w.TimeMicroseconds), NpgsqlDbType.TimestampTz);
                await import.WriteAsync(w.Offset, NpgsqlDbType.Bigint);
                await import.WriteAsync((int)w.Length, NpgsqlDbType.Integer);
                await import.WriteAsync((short)w.Kind, NpgsqlDbType.Smallint);
                await import.WriteAsync(w.Connection, NpgsqlDbType.Integer);
            }

            await import.CompleteAsync();
        }
    }

    /// <summary>Packed beforehand; what is timed is to insert them, as many to a commit as the shipper.</summary>
    private static Func<Task> Inserting(NpgsqlDataSource source, SingleWrite[] writes)
    {
        byte[][] blocks = [.. writes.Chunk(BlockWrites).Select(b => PackedWrites.Encode(b, [new(1, "unix:pid=1,uid=0")], []))];
        return async () =>
        {
            var volume = Guid.CreateVersion7();
            var number = 0L;
            await using var connection = await source.OpenConnectionAsync();
            await using var insert = new NpgsqlCommand("insert into peer_packed.blocks values ($1, $2, $3)", connection)
            {
                Parameters =
                {
                    new NpgsqlParameter<Guid>(), new NpgsqlParameter<long>(), new NpgsqlParameter<byte[]>(),
                },
            };
            foreach (var commit in blocks.Chunk(BlocksOfCommit))
            {
                await using var transaction = await connection.BeginTransactionAsync();
                foreach (var block in commit)
                {
                    ((NpgsqlParameter<Guid>)insert.Parameters[0]).TypedValue = volume;
                    ((NpgsqlParameter<long>)insert.Parameters[1]).TypedValue = ++number;
                    ((NpgsqlParameter<byte[]>)insert.Parameters[2]).TypedValue = block;
                    await insert.ExecuteNonQueryAsync();
                }

                await transaction.CommitAsync();
            }
        };
    }

    private static SingleWrite[] Writes(int seed)
    {
        var random = new Random(seed);
        var writes = new SingleWrite[ShippedWrites];
        var time = 1_790_000_000_000_000L;
        for (var i = 0; i < writes.Length; i++)
            writes[i] = new(i + 1, time += random.Next(40), WriteKind.Write, random.NextInt64(Size / 4096) * 4096, 4096, 1);
        return writes;
    }

    private static void ConfigureSingle(StoreOptions options, NpgsqlDataSource source)
    {
        options.Connection(source);
        options.DatabaseSchemaName = "peer_single";
        options.Events.DatabaseSchemaName = "peer_single";
        options.UseSystemTextJsonForSerialization();
        options.Events.AppendMode = EventAppendMode.Quick;
        options.Events.AddEventTypes([typeof(Wrote)]);
    }

    private static async Task<double> SecondsAsync(Func<Task> work)
    {
        var watch = Stopwatch.StartNew();
        await work();
        return watch.Elapsed.TotalSeconds;
    }

    private static async Task<long> BytesAsync(NpgsqlDataSource source, string schema)
    {
        await using var command = source.CreateCommand(
            $"""
            select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = '{schema}' and c.relkind in ('r', 'p')
            """);
        return (long)(await command.ExecuteScalarAsync())!;
    }

    private static async Task SqlAsync(NpgsqlDataSource source, string sql)
    {
        await using var command = source.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>One write as an event of its own.</summary>
    internal sealed record Wrote(long Offset, long Length, long Ticks);

    private sealed class NoAgent : IAgent
    {
        public string BitsDirectory => "";

        public bool IsConnected => false;

        public Task<ControlReply> AskAsync(ControlRequest request, CancellationToken cancellation) =>
            throw new LedgerException(ErrorCode.Busy, "no agent");

        public void MeetAgain()
        {
        }
    }
}
