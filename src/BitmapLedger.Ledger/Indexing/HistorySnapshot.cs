using System.Buffers;
using System.Data;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Rebuilding;
using BitmapLedger.Ledger.Storing;
using Marten;
using Npgsql;
using NpgsqlTypes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>
/// The history of a volume at one instant: its stream, and the nodes of the union tree over it. One thread; one reading at
/// a time. Memory is bounded by the largest event or node.
/// </summary>
public sealed class HistorySnapshot(
    NpgsqlConnection connection, NpgsqlTransaction transaction, ISerializer serializer, HistoryReads reads, KeptNodes kept, Guid volumeId,
    int? version)
    : IAsyncDisposable
{
    /// <summary>The number $3, or that of the event that was coalesced over it.</summary>
    private const string Through =
        $"coalesce((select min(version) from {LedgerSchema.Name}.mt_events where stream_id = $1 and version >= $3), $3)";

    private const string NodeColumns = "n.level, n.first_event, n.first_lsn, n.last_lsn, n.granularity, n.lost, n.inexact";

    private readonly string _version = version?.ToString(CultureInfo.InvariantCulture) ?? ProjectionVersions.Active(UnionNodes.ProjectionName);
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(128 << 10);
    private byte[] _otherBuffer = ArrayPool<byte>.Shared.Rent(128 << 10);

    /// <summary>The volume.</summary>
    public Guid VolumeId => volumeId;

    /// <summary>The last event that a node of level 1 stands for; 0 when there is none.</summary>
    public async Task<long> SealedEventAsync(CancellationToken cancellation)
    {
        await using var command = Command(
            $"""
            select first_event from {LedgerSchema.Name}.union_nodes
            where volume_id = $1 and version = {_version} and level = 1 order by first_event desc limit 1
            """);
        return await command.ExecuteScalarAsync(cancellation) is long first ? new TreeNode(1, first).Last : 0;
    }

    /// <summary>
    /// The volume behind an event, without its checkpoints: from the state that the union tree has nearest before it and the
    /// commands since. No block of writes is read.
    /// </summary>
    /// <param name="number">The event; 0 for before the first.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<VolumeState> StateAsync(long number, CancellationToken cancellation)
    {
        var state = await StoredStateAsync(number, cancellation);
        await foreach (var row in ReadAsync(VolumeShape.CommandsFilter, state.Event, number, newestFirst: false, cancellation))
            state = state.Apply(row.Data(), row.Number, row.Time);
        return state with { Event = number };
    }

    /// <summary>Size of the volume behind an event.</summary>
    /// <param name="number">The event.</param>
    /// <param name="sizeNow">Its size now.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<long> SizeAtAsync(long number, long sizeNow, CancellationToken cancellation)
    {
        await foreach (var row in ReadAsync("and type = 'volume_resized'", number, long.MaxValue, newestFirst: false, cancellation))
            return ((VolumeResized)row.Data()).SizeBefore;
        return sizeNow;
    }

    /// <summary>Nodes that are there and are not coarser than wanted, in no order, as they are stored. The bits of each are valid
    /// until the next but one.</summary>
    /// <param name="wanted">Which.</param>
    /// <param name="coarsest">Coarsest granularity of use.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async IAsyncEnumerable<UnionNode> NodesAsync(
        IReadOnlyCollection<TreeNode> wanted, Granularity coarsest, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (wanted.Count == 0)
            yield break;
        await using var command = Wanted($"{NodeColumns}, octet_length(n.bits), n.bits", wanted, coarsest);
        await using var row = await command.ExecuteReaderAsync(CommandBehavior.SequentialAccess, cancellation);
        while (await row.ReadAsync(cancellation))
        {
            var node = Node(row);
            yield return node with { Bits = await BytesAsync(row, 8, row.GetInt32(7), cancellation) };
        }
    }

    /// <summary>The same for questions: what was read lately comes from memory, and first. Each is valid until the next but one.</summary>
    /// <param name="wanted">Which.</param>
    /// <param name="coarsest">Coarsest granularity of use.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    internal async IAsyncEnumerable<FoundNode> FoundNodesAsync(
        IReadOnlyCollection<TreeNode> wanted, Granularity coarsest, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var (here, away) = await LookUpAsync(wanted, coarsest, cancellation);
        foreach (var node in here)
            yield return node;
        await foreach (var node in NodesAsync(away.Keys, coarsest, cancellation))
            yield return new(node, away[node.Place], kept, null);
    }

    /// <summary>The first bytes of nodes that are there.</summary>
    /// <param name="wanted">Which.</param>
    /// <param name="bytes">How many bytes.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public Task<Dictionary<TreeNode, NodePart>> HeadsAsync(
        IReadOnlyCollection<TreeNode> wanted, int bytes, CancellationToken cancellation) =>
        PartsAsync([.. wanted.Select(w => (w, 0L, (long)bytes))], cancellation);

    /// <summary>Stretches of bytes of nodes.</summary>
    /// <param name="parts">A node, the first byte and how many; a node once.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<Dictionary<TreeNode, NodePart>> PartsAsync(
        IReadOnlyCollection<(TreeNode Node, long Offset, long Length)> parts, CancellationToken cancellation)
    {
        Dictionary<TreeNode, NodePart> found = [];
        if (parts.Count == 0)
            return found;
        await using var command = Command(
            $"""
            select n.level, n.first_event, substring(n.bits from w.start for w.length), n.lost
            from unnest($2::int[], $3::bigint[], $4::int[], $5::int[]) as w(level, first_event, start, length)
            join {LedgerSchema.Name}.union_nodes n
            on n.volume_id = $1 and n.version = {_version} and n.level = w.level and n.first_event = w.first_event
            """);
        Add(command, parts.Select(p => p.Node.Level).ToArray(), NpgsqlDbType.Integer);
        Add(command, parts.Select(p => p.Node.First).ToArray(), NpgsqlDbType.Bigint);
        Add(command, parts.Select(p => (int)p.Offset + 1).ToArray(), NpgsqlDbType.Integer);
        Add(command, parts.Select(p => (int)p.Length).ToArray(), NpgsqlDbType.Integer);
        await using var row = await command.ExecuteReaderAsync(cancellation);
        while (await row.ReadAsync(cancellation))
        {
            var bytes = await row.GetFieldValueAsync<byte[]>(2, cancellation);
            reads.Add(bytes.Length);
            found[new(row.GetInt32(0), row.GetInt64(1))] = new(bytes, row.GetBoolean(3));
        }

        return found;
    }

    /// <summary>What is needed to find an event, of the first at or after each of some numbers: numbers before the last of
    /// events that were coalesced stand for all of them.</summary>
    /// <param name="numbers">Which.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>Those that are there, ascending, each once.</returns>
    public async Task<IReadOnlyList<EventHead>> HeadsAsync(IReadOnlyCollection<long> numbers, CancellationToken cancellation)
    {
        await using var command = Command(
            $"""
            select e.version, e.timestamp, e.type, e.prefix, e.at_lsn
            from unnest($2::bigint[]) as w(version) cross join lateral (
                select version, timestamp, type, substring(bdata from 1 for {EventHead.PrefixBytes}) as prefix,
                       coalesce((data ->> 'from_lsn')::bigint, (data ->> 'at_lsn')::bigint, 0) as at_lsn
                from {LedgerSchema.Name}.mt_events where stream_id = $1 and version >= w.version order by version limit 1) as e
            order by e.version
            """);
        Add(command, numbers.ToArray(), NpgsqlDbType.Bigint);
        await using var row = await command.ExecuteReaderAsync(cancellation);
        List<EventHead> heads = [];
        while (await row.ReadAsync(cancellation))
        {
            if (heads is [.., var last] && last.Number == row.GetInt64(0))
                continue;
            var prefix = await row.IsDBNullAsync(3, cancellation) ? null : await row.GetFieldValueAsync<byte[]>(3, cancellation);
            reads.Add(prefix?.Length ?? 0);
            heads.Add(EventHead.Of(
                row.GetInt64(0), await row.GetFieldValueAsync<DateTimeOffset>(1, cancellation), row.GetString(2), prefix, row.GetInt64(4)));
        }

        return heads;
    }

    /// <summary>The first event that has a number or a later one; what it says stays valid.</summary>
    /// <exception cref="CorruptionException">There is none, or it is not what was written.</exception>
    public async Task<(long Number, DateTimeOffset Time, IVolumeEvent Data)> AtOrAfterAsync(long number, CancellationToken cancellation)
    {
        await foreach (var row in EventsAsync(number - 1, number, newestFirst: false, cancellation))
            return (row.Number, row.Time, row.Detached());
        throw new CorruptionException("a volume's stream", 0, $"it has no event {number}");
    }

    /// <summary>Events after one number up to and including another, each valid until the next but one; also the one that was
    /// coalesced over the last number, so that nothing up to there is left out.</summary>
    public IAsyncEnumerable<EventRow> EventsAsync(
        long afterEvent, long throughEvent, bool newestFirst, CancellationToken cancellation) =>
        ReadAsync("", afterEvent, throughEvent, newestFirst, cancellation);

    /// <summary>Events of several stretches, asked for at once, each valid until the next but one; also those that were coalesced
    /// over the last number of a stretch.</summary>
    /// <param name="stretches">First and last number of each; not very many.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public IAsyncEnumerable<EventRow> EventsAsync(
        IEnumerable<(long First, long Last)> stretches, CancellationToken cancellation) =>
        ReadAsync("", [.. stretches.Select(s => (s.First - 1, s.Last))], newestFirst: false, cancellation);

    /// <summary>Bits that an event carries.</summary>
    /// <param name="origin">The event, and which of its sources.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    /// <returns>The caller disposes it.</returns>
    /// <exception cref="CorruptionException">The event is not there, or not what was written.</exception>
    public async Task<NativeBitmap> GivenAsync(BitOrigin.Given origin, CancellationToken cancellation) =>
        GivenBits.Read(GivenBits.In((await AtOrAfterAsync(origin.Event, cancellation)).Data, origin.Index));

    /// <summary>Events without the blocks of writes and what is left of those, which are passed over and not read.</summary>
    public IAsyncEnumerable<EventRow> CommandsAsync(long afterEvent, long throughEvent, CancellationToken cancellation) =>
        ReadAsync(LedgerSchema.CommandsFilter, afterEvent, throughEvent, newestFirst: false, cancellation);

    /// <summary>Numbers of events of some types but blocks of writes, ascending. None of these is passed over.</summary>
    /// <param name="types">Names of types as PostgreSQL has them.</param>
    /// <param name="afterEvent">The last event that is out.</param>
    /// <param name="throughEvent">The last event that is in; also the one that was coalesced over it.</param>
    /// <param name="most">Most of them.</param>
    /// <param name="cancellation">Ends the attempt.</param>
    public async Task<IReadOnlyList<long>> NumbersAsync(
        IReadOnlyCollection<string> types, long afterEvent, long throughEvent, int most, CancellationToken cancellation)
    {
        await using var command = Command(
            $"""
            select version from {LedgerSchema.Name}.mt_events
            where stream_id = $1 and version > $2 and version <= {Through} and type <> '{LedgerSchema.WritesType}' and type = any($4)
            order by version limit $5
            """);
        command.Parameters.Add(new() { Value = afterEvent });
        command.Parameters.Add(new() { Value = throughEvent });
        Add(command, types.ToArray(), NpgsqlDbType.Varchar);
        command.Parameters.Add(new() { Value = most });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        List<long> numbers = [];
        while (await row.ReadAsync(cancellation))
        {
            reads.Add(0);
            numbers.Add(row.GetInt64(0));
        }

        return numbers;
    }

    /// <summary>Events that say that writes may have gone unrecorded.</summary>
    public IAsyncEnumerable<EventRow> LossesAsync(long afterEvent, long throughEvent, CancellationToken cancellation) =>
        ReadAsync("and type = 'tracking_lost'", afterEvent, throughEvent, newestFirst: false, cancellation);

    /// <inheritdoc />
    public async ValueTask DisposeAsync()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        ArrayPool<byte>.Shared.Return(_otherBuffer);
        (_buffer, _otherBuffer) = ([], []);
        await transaction.DisposeAsync();
        await connection.DisposeAsync();
    }

    /// <summary>Which nodes are there, and of those the ones that are kept.</summary>
    private async Task<(List<FoundNode> Here, Dictionary<TreeNode, NodeRow> Away)> LookUpAsync(
        IReadOnlyCollection<TreeNode> wanted, Granularity coarsest, CancellationToken cancellation)
    {
        List<FoundNode> here = [];
        Dictionary<TreeNode, NodeRow> away = [];
        if (wanted.Count == 0)
            return (here, away);
        await using var command = Wanted($"{NodeColumns}, pg_postmaster_start_time(), n.xmin, n.ctid", wanted, coarsest);
        await using var row = await command.ExecuteReaderAsync(cancellation);
        while (await row.ReadAsync(cancellation))
        {
            var node = Node(row);
            var stored = new NodeRow(
                row.GetDateTime(7), await row.GetFieldValueAsync<uint>(8, cancellation),
                await row.GetFieldValueAsync<NpgsqlTid>(9, cancellation), volumeId, node.Place);
            if (kept.Find(stored) is not { } unpacked)
            {
                away[node.Place] = stored;
                continue;
            }

            reads.Add(0);
            here.Add(new(node, stored, kept, unpacked));
        }

        return (here, away);
    }

    /// <summary>What a row says in its <see cref="NodeColumns"/>.</summary>
    private static UnionNode Node(NpgsqlDataReader row) => new(
        new(row.GetInt32(0), row.GetInt64(1)), row.GetInt64(2), row.GetInt64(3), Granularity.FromBytes(row.GetInt64(4)), row.GetBoolean(5),
        row.GetBoolean(6), default);

    private async Task<VolumeState> StoredStateAsync(long number, CancellationToken cancellation)
    {
        await using var command = Command(
            $"""
            select state::text from {LedgerSchema.Name}.union_nodes
            where volume_id = $1 and version = {_version} and level = {UnionNodes.StateLevel} and first_event <= $2
            order by first_event desc limit 1
            """);
        command.Parameters.Add(new() { Value = number - UnionTree.LengthOf(UnionNodes.StateLevel) + 1 });
        if (await command.ExecuteScalarAsync(cancellation) is not string json)
            return new() { Id = volumeId };
        reads.Add(json.Length);
        return JsonSerializer.Deserialize<VolumeState>(json, UnionNodes.StateJson)!;
    }

    private IAsyncEnumerable<EventRow> ReadAsync(
        string filter, long afterEvent, long throughEvent, bool newestFirst, CancellationToken cancellation) =>
        ReadAsync(filter, afterEvent < throughEvent ? [(afterEvent, throughEvent)] : [], newestFirst, cancellation);

    private async IAsyncEnumerable<EventRow> ReadAsync(
        string filter, (long After, long Through)[] stretches, bool newestFirst, [EnumeratorCancellation] CancellationToken cancellation)
    {
        if (stretches.Length == 0)
            yield break;
        await using var batch = new NpgsqlBatch(connection, transaction);
        foreach (var (after, through) in stretches)
            batch.BatchCommands.Add(new(
                $"""
                select version, timestamp, type, coalesce(octet_length(bdata), octet_length(data::text)), coalesce(bdata, convert_to(data::text, 'UTF8'))
                from {LedgerSchema.Name}.mt_events where stream_id = $1 and version > $2 {filter} and version <= {Through}
                order by version {(newestFirst ? "desc" : "")}
                """)
            {
                Parameters = { new() { Value = volumeId }, new() { Value = after }, new() { Value = through } },
            });
        await using var row = await batch.ExecuteReaderAsync(CommandBehavior.SequentialAccess, cancellation);
        do
        {
            while (await row.ReadAsync(cancellation))
            {
                var number = row.GetInt64(0);
                var time = await row.GetFieldValueAsync<DateTimeOffset>(1, cancellation);
                var type = row.GetString(2);
                var bytes = await BytesAsync(row, 4, row.GetInt32(3), cancellation);
                yield return new(number, time, type, bytes, serializer);
            }
        }
        while (await row.NextResultAsync(cancellation));
    }

    private async Task<ReadOnlyMemory<byte>> BytesAsync(
        NpgsqlDataReader row, int column, int length, CancellationToken cancellation)
    {
        reads.Add(length);
        (_buffer, _otherBuffer) = (_otherBuffer, _buffer);
        if (_buffer.Length < length)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = ArrayPool<byte>.Shared.Rent(length);
        }

        await using var stream = await row.GetStreamAsync(column, cancellation);
        await stream.ReadExactlyAsync(_buffer.AsMemory(0, length), cancellation);
        return _buffer.AsMemory(0, length);
    }

    private NpgsqlCommand Wanted(string columns, IReadOnlyCollection<TreeNode> wanted, Granularity coarsest)
    {
        var command = Command(
            $"""
            select {columns}
            from unnest($2::int[], $3::bigint[]) as w(level, first_event)
            join {LedgerSchema.Name}.union_nodes n
            on n.volume_id = $1 and n.version = {_version} and n.level = w.level and n.first_event = w.first_event
            where n.granularity <= $4
            """);
        Add(command, wanted.Select(n => n.Level).ToArray(), NpgsqlDbType.Integer);
        Add(command, wanted.Select(n => n.First).ToArray(), NpgsqlDbType.Bigint);
        command.Parameters.Add(new() { Value = coarsest.Bytes });
        return command;
    }

    private NpgsqlCommand Command(string text)
    {
        var command = new NpgsqlCommand(text, connection, transaction);
        command.Parameters.Add(new() { Value = volumeId });
        return command;
    }

    private static void Add<T>(NpgsqlCommand command, T[] values, NpgsqlDbType type) =>
        command.Parameters.Add(new() { Value = values, NpgsqlDbType = NpgsqlDbType.Array | type });
}
