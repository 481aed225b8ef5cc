using System.Diagnostics;
using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Queries;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Testing;
using Marten;
using Npgsql;

namespace BitmapLedger.Bench;

/// <summary>
/// A volume of 1 TiB in a PostgreSQL of its own, to which uniformly random writes of 4 KiB are appended as the shipper
/// appends them, 16,384 a block and four blocks a commit; no agent and no NBD.
/// </summary>
internal sealed class LongHistory : IAsyncDisposable
{
    public const long Size = 1L << 40;
    private const int BlockWrites = 16_384;
    private const int BlocksOfCommit = 4;

    private readonly ScratchDirectory _scratch = new();
    private readonly Random _random = new(20_261_127);
    private readonly Guid _volume = Guid.CreateVersion7();
    private SeparateCluster _cluster = null!;
    private VolumeStreams _streams = null!;
    private long _time = 1_790_000_000_000_000;

    public Guid Volume => _volume;

    public NpgsqlDataSource Source { get; private set; } = null!;

    public DocumentStore Store { get; private set; } = null!;

    public HistoryIndex Index => new(Source, Store.Options.Serializer());

    public long LastEvent { get; private set; }

    public long LastLsn { get; private set; }

    public static async Task<LongHistory> StartAsync()
    {
        var history = new LongHistory();
        history._cluster = await SeparateCluster.StartAsync(history._scratch["pg"]);
        history.Open();
        await new LedgerSchema(history.Store, history.Source).ApplyAsync(CancellationToken.None);
        await history.AppendAsync(
            new VolumeCreated("v", Size, "file:/v", "/v", false, "process", "stall", 0), new BitmapAdded("b0", 65_536, false, true, 0));
        return history;
    }

    public async Task AppendAsync(params IVolumeEvent[] events)
    {
        var time = Contracts.Points.Timestamps.FromMicroseconds(_time);
        await _streams.AppendAsync(
            [new(_volume, LastEvent, [.. events.Select(e => new TimedEvent(e, time))])], null, null, CancellationToken.None);
        LastEvent += events.Length;
    }

    /// <summary>Appends writes until there are so many.</summary>
    public async Task GrowAsync(long writes)
    {
        while (LastLsn < writes)
            await AppendAsync([.. Enumerable.Range(0, BlocksOfCommit).TakeWhile(_ => LastLsn < writes).Select(_ => Block())]);
        await SqlAsync("vacuum analyze bitmapledger.mt_events");
    }

    /// <summary>The single writes of one block.</summary>
    public WritesRecorded Block()
    {
        var writes = new SingleWrite[BlockWrites];
        for (var i = 0; i < writes.Length; i++)
            writes[i] = new(
                ++LastLsn, _time += _random.Next(40), WriteKind.Write, _random.NextInt64(Size / 4096) * 4096, 4096, 1);
        _ = PackedWrites.TryRead(PackedWrites.Encode(writes, [new(1, "unix:pid=1,uid=0")], []), out var packed);
        return new(packed!);
    }

    /// <summary>Somewhere in the history, in the middle of a block.</summary>
    public async Task<Position> PositionAsync(double part)
    {
        var number = Math.Clamp((long)(part * LastEvent), 3, LastEvent);
        await using var look = await Index.LookAsync(_volume, CancellationToken.None);
        await foreach (var row in look.EventsAsync(number - 1, number, newestFirst: false, CancellationToken.None))
            if (row.Data() is WritesRecorded { Packed: var packed })
                return new(number, (packed.FirstLsn + packed.LastLsn) / 2, row.Time);
        return new(number, 0, default);
    }

    /// <summary>Runs the daemon until everything is projected.</summary>
    public async Task ProjectAsync()
    {
        using var daemon = await Store.BuildProjectionDaemonAsync();
        await daemon.StartAllAsync();
        await daemon.WaitForNonStaleData(TimeSpan.FromMinutes(10));
        await daemon.StopAllAsync();
        await SqlAsync("vacuum analyze bitmapledger.union_nodes");
    }

    /// <summary>PostgreSQL starts anew and its files leave the page cache: the next question reads the disk.</summary>
    public async Task CoolAsync()
    {
        await Source.DisposeAsync();
        await SqlAsync("checkpoint");
        await _cluster.KillAsync();
        await Tool.RunAsync("sync", []);
        foreach (var file in Directory.EnumerateFiles(Path.Combine(_cluster.Data, "base"), "*", SearchOption.AllDirectories))
            await Tool.RunAsync("dd", [$"if={file}", "of=/dev/null", "iflag=nocache", "count=0", "status=none"]);
        await _cluster.StartAsync();
        await Store.DisposeAsync();
        Open();
        // Connections, and the code on the way of a question, are not what is cold.
        await ScalarAsync("select 1");
    }

    public async Task<T> ScalarAsync<T>(string sql) => (T)(await ScalarAsync(sql))!;

    public static async Task<double> MillisecondsAsync(Func<Task> work)
    {
        var watch = Stopwatch.StartNew();
        await work();
        return watch.Elapsed.TotalMilliseconds;
    }

    public async ValueTask DisposeAsync()
    {
        await Store.DisposeAsync();
        await Source.DisposeAsync();
        await _cluster.DisposeAsync();
        _scratch.Dispose();
    }

    private async Task SqlAsync(string sql)
    {
        await using var source = NpgsqlDataSource.Create(_cluster.ConnectionString);
        await using var command = source.CreateCommand(sql);
        command.CommandTimeout = 600;
        await command.ExecuteNonQueryAsync();
    }

    private async Task<object?> ScalarAsync(string sql)
    {
        await using var command = Source.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }

    private void Open()
    {
        Source = LedgerRegistration.DataSource(_cluster.ConnectionString);
        Store = DocumentStore.For(o => LedgerRegistration.Configure(o, Source));
        _streams = new(Store, TimeProvider.System);
    }
}
