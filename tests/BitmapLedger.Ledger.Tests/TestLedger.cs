using BitmapLedger.Bitmaps.Writes;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Indexing;
using BitmapLedger.Ledger.Reading;
using BitmapLedger.Ledger.Retaining;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using BitmapLedger.Ledger.Verifying;
using BitmapLedger.Testing;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The ledger on a database of its own, with a real journal beside it and no Agent: the shipper reads
/// files.</summary>
internal sealed class TestLedger : IAsyncDisposable
{
    private readonly ScratchDirectory _scratch = new();
    private readonly AnswerMaps _maps = new();
    private readonly Lanes _lanes = new();

    private TestLedger(NpgsqlDataSource source)
    {
        Source = source;
        Store = DocumentStore.For(o => LedgerRegistration.Configure(o, source));
        Settings = new(_scratch.Path, 1L << 30, OwnCluster: false);
        Streams = new(Store, TimeProvider.System);
        Shipper = NewShipper();
        Reader = new(Store);
        Index = new(source, Store.Options.Serializer());
        Points = new(Index, Streams, _lanes, Shipper, TimeProvider.System);
        Journal = JournalWriter.Open(
            new(Settings.Journal(VolumeId), VolumeId, 1L << 30, 0, TimeProvider.System, SegmentBytes: 64 << 10));
        Connection = Journal.Connect("unix:pid=1,uid=0");
    }

    public const long Size = 16 << 20;

    public Guid VolumeId { get; } = Guid.CreateVersion7();

    public NpgsqlDataSource Source { get; }

    public DocumentStore Store { get; }

    public LedgerSettings Settings { get; }

    public VolumeStreams Streams { get; }

    public Shipper Shipper { get; }

    public EventReader Reader { get; }

    public PointResolver Points { get; }

    public JournalWriter Journal { get; }

    public JournalConnection Connection { get; }

    public HistoryIndex Index { get; }

    public Queries Queries => new(Points, new(Index), Index, _maps);

    public ProjectionSteps Steps => new(Points, Index, new(Source));

    /// <summary>For points in the past: there is no Agent to ask.</summary>
    public Verifier Verifier => new(
        Streams, new(new Lanes(), new NoAgent(), Streams, TimeProvider.System), new NoAgent(), Shipper, Points, new(Source), Index, Settings,
        TimeProvider.System);

    public Histories Histories => new(Points, Reader, Index, Streams, TimeProvider.System);

    public Retainer Retainer => new(
        Streams, _lanes, new NoAgent(), Shipper, Points, Index, new(Source, Index), new(Streams), Store, TimeProvider.System);

    public static async Task<TestLedger> StartAsync(PostgresFixture postgres) =>
        await StartAsync(await postgres.DatabaseAsync());

    public static async Task<TestLedger> StartAsync(string connectionString)
    {
        var ledger = new TestLedger(LedgerRegistration.DataSource(connectionString));
        await new LedgerSchema(ledger.Store, ledger.Source).ApplyAsync(CancellationToken.None);
        await ledger.AppendAsync(0, new VolumeCreated("v", Size, "file:/v", "/v", false, "process", "stall", 0));
        return ledger;
    }

    public Shipper NewShipper() => new(Streams, new NoAgent(), Settings, TimeProvider.System);

    /// <summary>Appends command events where the journal stands.</summary>
    public async Task AppendAsync(long expectedEvent, params IVolumeEvent[] events)
    {
        var time = Contracts.Points.Timestamps.FromMicroseconds(Journal.NowMicroseconds());
        await Streams.AppendAsync([new(VolumeId, expectedEvent, [.. events.Select(
            e => new TimedEvent(e, time))])], null, null, CancellationToken.None);
        Shipper.Forget(VolumeId);
    }

    /// <summary>Ships all, then appends a command that stands at the last write.</summary>
    public async Task<long> CommandAsync(Func<long, IVolumeEvent> command)
    {
        var last = await Shipper.ShipAllAsync(VolumeId, CancellationToken.None);
        await AppendAsync(last, command(Journal.LastLsn));
        return last + 1;
    }

    /// <summary>Ships all, then decides commands and appends what they come to.</summary>
    public async Task DecideAsync(params VolumeCommand[] commands)
    {
        await Shipper.ShipAllAsync(VolumeId, CancellationToken.None);
        var found = await Streams.FindAsync("v", CancellationToken.None);
        var state = (await Streams.WithCheckpointsAsync([found], CancellationToken.None))[0];
        var decision = VolumeDecider.Decide(commands, state, state.LastLsn, default);
        Assert.Null(decision.Refusal);
        await AppendAsync(state.Event, [.. decision.Events]);
    }

    public void Write(params (long Offset, long Length)[] writes)
    {
        Assert.True(Journal.Reserve(writes.Length, wait: false));
        Assert.True(Journal.TryAppend(
            [.. writes.Select(w => new WriteRequest(WriteKind.Write, w.Offset, w.Length))], Connection, out _));
    }

    /// <summary>The first column of the first row that a statement answers.</summary>
    public async Task<object?> ScalarAsync(string sql)
    {
        await using var command = Source.CreateCommand(sql);
        return await command.ExecuteScalarAsync();
    }

    /// <summary>Carries a statement out.</summary>
    /// <returns>How many rows it changed.</returns>
    public async Task<int> SqlAsync(string sql)
    {
        await using var command = Source.CreateCommand(sql);
        return await command.ExecuteNonQueryAsync();
    }

    public async ValueTask DisposeAsync()
    {
        Journal.Dispose();
        Shipper.Forget(VolumeId);
        await Store.DisposeAsync();
        await Source.DisposeAsync();
        _maps.Dispose();
        _scratch.Dispose();
    }

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
