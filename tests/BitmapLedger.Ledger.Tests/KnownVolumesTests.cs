using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;
using Marten;
using Marten.Services;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The states that questions are answered from: never older than what anybody may have seen.</summary>
public sealed class KnownVolumesTests(PostgresFixture postgres)
{
    private const string FileElsewhere = "update bitmapledger.mt_doc_volumestate set data = jsonb_set(data, '{file}', '\"/else\"')";
    private static readonly CancellationToken _none = CancellationToken.None;

    [Fact]
    public async Task What_is_known_is_followed_through_appends_creations_and_removals()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.Streams.AllAsync(_none);
        var other = Guid.CreateVersion7();

        await ledger.AppendAsync(1, Added("b0"), new CheckpointCreated("c", ["v"], 0));
        await ledger.Streams.AppendAsync([Append(other, 0, Created("w"))], null, null, _none);
        await AssertKnownIsStoredAsync(ledger, "v", "w");
        await ledger.AppendAsync(3, new BitmapCleared("b0", 0));
        await ledger.Streams.AppendAsync([Append(other, 1, new VolumeRemoved(0))], null, null, _none);
        await AssertKnownIsStoredAsync(ledger, "v");
        await Assert.ThrowsAsync<LedgerException>(() => ledger.Streams.FindAsync("w", _none));
        // The name is free again, and means the new volume.
        var next = Guid.CreateVersion7();
        await ledger.Streams.AppendAsync([Append(next, 0, Created("w"))], null, null, _none);
        Assert.Equal(next, await ledger.Streams.IdAsync("w", _none));
        await AssertKnownIsStoredAsync(ledger, "v", "w");
    }

    [Fact]
    public async Task What_is_known_is_answered_without_asking_the_streams()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.Streams.AllAsync(_none);
        await ledger.AppendAsync(1, Added("b0"));
        await ledger.SqlAsync(FileElsewhere);

        Assert.Equal("/v", (await ledger.Streams.FindAsync("v", _none)).File);
        ledger.Streams.ForgetKnown();
        Assert.Equal("/else", (await ledger.Streams.FindAsync("v", _none)).File);
    }

    // Method: whoever looks as soon as PostgreSQL has committed, by any way, sees what is committed; then asks here, before the one
    // who appended has heard of it.
    [Fact]
    public async Task From_the_commit_on_nobody_is_shown_what_was_before()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        var look = new LooksAtCommit();
        await using var store = DocumentStore.For(o =>
        {
            LedgerRegistration.Configure(o, ledger.Source);
            o.Listeners.Add(look);
        });
        var streams = new VolumeStreams(store, TimeProvider.System);
        await streams.AllAsync(_none);
        look.Streams = streams;

        await streams.AppendAsync([Append(ledger.VolumeId, 1, Added("b0"))], null, null, _none);

        Assert.Equal([2, 2], look.Seen);
    }

    [Fact]
    public void What_was_read_while_something_was_appended_is_not_kept()
    {
        var (known, v) = (new KnownVolumes(), State("v"));
        var append = new StreamAppend(v.Id, 1, [new(Added("b0"), default)]);

        var beforeBegin = known.Changes;
        known.Begin([append]);
        var beforeEnd = known.Changes;
        known.Keep([v], beforeEnd);
        Assert.Null(known.All());
        known.End([append], happened: true);
        known.Keep([v], beforeBegin);
        known.Keep([v], beforeEnd);
        Assert.Null(known.All());

        known.Keep([v], known.Changes);
        Assert.NotNull(known.Find("v"));
    }

    [Fact]
    public void Behind_an_append_of_which_nobody_knows_what_became_all_is_read_anew()
    {
        var (known, v) = (new KnownVolumes(), State("v"));
        known.Keep([v], known.Changes);
        StreamAppend[] append = [new(v.Id, 1, [new(Added("b0"), default)])];

        known.Begin(append);
        Assert.Equal([v.Id], known.All()!.Value.Asked);
        Assert.Null(known.Find("v"));
        known.End(append, happened: false);

        Assert.Null(known.All());
    }

    [Fact]
    public void Of_two_appends_at_once_to_one_volume_neither_is_followed()
    {
        var (known, v) = (new KnownVolumes(), State("v"));
        known.Keep([v], known.Changes);
        StreamAppend[] first = [new(v.Id, 1, [new(Added("b0"), default)])];
        StreamAppend[] second = [new(v.Id, 2, [new(Added("b1"), default)])];

        known.Begin(first);
        known.Begin(second);
        known.End(second, happened: true);
        known.End(first, happened: true);

        Assert.Null(known.All());
    }

    [Fact]
    public async Task What_another_program_appended_is_known_once_the_stream_has_been_read()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await ledger.Streams.AllAsync(_none);
        await new VolumeStreams(ledger.Store, TimeProvider.System).AppendAsync([Append(ledger.VolumeId, 1, Added("b0"))], null, null, _none);

        Assert.Equal(2, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event);

        Assert.Equal(2, (await ledger.Streams.FindAsync("v", _none)).Event);
    }

    // Method: an older connection, as a server before this one has it, commits after this one has read.
    [Fact]
    public async Task The_last_commit_of_a_server_before_this_one_is_seen()
    {
        var connectionString = await postgres.DatabaseAsync();
        await using (await TestLedger.StartAsync(connectionString))
        {
        }

        await using var earlier = new NpgsqlConnection(connectionString);
        await earlier.OpenAsync(_none);
        await using var transaction = await ChangingAsync(earlier);
        await using var source = LedgerRegistration.DataSource(connectionString);
        await using var store = DocumentStore.For(o => LedgerRegistration.Configure(o, source));

        await AssertSeenOnceCommittedAsync(new(store, TimeProvider.System), transaction);
    }

    // Method: an append is given up before PostgreSQL has heard of it; a connection that is younger than all of ours stands for
    // the one that it went out on, and commits after the volumes were read.
    [Fact]
    public async Task What_was_given_up_and_is_carried_out_later_is_seen()
    {
        await using var ledger = await TestLedger.StartAsync(await postgres.DatabaseAsync());
        Assert.Equal("/v", Assert.Single(await ledger.Streams.AllAsync(_none)).File);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => ledger.Streams.AppendAsync([Append(ledger.VolumeId, 1, Added("b0"))], null, null, new(true)));
        await using var late = await ledger.Source.OpenConnectionAsync(_none);
        await using var transaction = await ChangingAsync(late);

        await AssertSeenOnceCommittedAsync(ledger.Streams, transaction);
    }

    [Fact]
    public async Task Behind_a_new_connection_to_postgres_all_is_read_anew()
    {
        var connectionString = await postgres.DatabaseAsync();
        var clock = new Clock();
        using var watch = new PostgresWatch(connectionString, clock, NullLogger<PostgresWatch>.Instance);
        var connected = 0;
        watch.OnConnected = () => connected++;
        await watch.WithAsync(_ => Task.CompletedTask, _none);
        await watch.WithAsync(_ => Task.CompletedTask, _none);
        Assert.Equal(1, connected);

        await using var source = LedgerRegistration.DataSource(connectionString);
        await using (var command = source.CreateCommand(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"))
            await command.ExecuteNonQueryAsync(_none);
        clock.Ahead += TimeSpan.FromSeconds(1);
        await Assert.ThrowsAnyAsync<Exception>(() => watch.WithAsync(_ => Task.CompletedTask, _none));
        while (!await watch.LookAsync(_none))
            await Task.Yield();

        Assert.Equal(2, connected);
    }

    [Fact]
    public async Task Postgres_is_not_asked_again_before_work_so_soon_after_it_has_answered()
    {
        var connectionString = await postgres.DatabaseAsync();
        var clock = new Clock();
        using var watch = new PostgresWatch(connectionString, clock, NullLogger<PostgresWatch>.Instance);
        await using var source = LedgerRegistration.DataSource(connectionString);
        await watch.WithAsync(_ => Task.CompletedTask, _none);
        var asked = await StampAsync();

        await watch.WithAsync(_ => Task.CompletedTask, _none);
        Assert.Equal(asked, await StampAsync());
        clock.Ahead += TimeSpan.FromSeconds(1);
        await watch.WithAsync(_ => Task.CompletedTask, _none);
        Assert.NotEqual(asked, await StampAsync());

        async Task<object?> StampAsync()
        {
            await using var command = source.CreateCommand(
                "select query_start from pg_stat_activity where datname = current_database() and query like 'select pg_postmaster_start_time()%'");
            return await command.ExecuteScalarAsync(_none);
        }
    }

    /// <summary>Somebody else's append that is not committed yet.</summary>
    private static async Task<NpgsqlTransaction> ChangingAsync(NpgsqlConnection connection)
    {
        var transaction = await connection.BeginTransactionAsync(_none);
        await using var command = new NpgsqlCommand(FileElsewhere, connection, transaction);
        await command.ExecuteNonQueryAsync(_none);
        return transaction;
    }

    private static async Task AssertSeenOnceCommittedAsync(VolumeStreams streams, NpgsqlTransaction changing)
    {
        Assert.Equal("/v", Assert.Single(await streams.AllAsync(_none)).File);
        await changing.CommitAsync(_none);
        Assert.Equal("/else", Assert.Single(await streams.AllAsync(_none)).File);
    }

    private static async Task AssertKnownIsStoredAsync(TestLedger ledger, params string[] names)
    {
        var known = await ledger.Streams.AllAsync(_none);
        ledger.Streams.ForgetKnown();
        var stored = await ledger.Streams.AllAsync(_none);
        var serializer = ledger.Store.Options.Serializer();
        Assert.Equal(stored.Select(serializer.ToJson), known.Select(serializer.ToJson));
        Assert.Equal(names, known.Select(s => s.Name));
    }

    private static StreamAppend Append(Guid volume, long expectedEvent, IVolumeEvent happened) =>
        new(volume, expectedEvent, [new(happened, DateTimeOffset.UnixEpoch)]);

    private static BitmapAdded Added(string name) => new(name, 4096, false, true, 0);

    private static VolumeCreated Created(string name) =>
        new(name, TestLedger.Size, $"file:/{name}", $"/{name}", false, "process", "stall", 0);

    private static VolumeState State(string name)
    {
        var id = Guid.CreateVersion7();
        return new VolumeState { Id = id }.Apply(Created(name), 1, default);
    }

    private sealed class LooksAtCommit : DocumentSessionListenerBase
    {
        public VolumeStreams? Streams { get; set; }

        public List<long> Seen { get; } = [];

        public override async Task AfterCommitAsync(IDocumentSession session, IChangeSet commit, CancellationToken token)
        {
            if (Streams is null)
                return;
            Seen.Add((await Streams.FindAsync("v", token)).Event);
            Seen.Add(Assert.Single(await Streams.AllAsync(token)).Event);
        }
    }

    /// <summary>Stands still unless it is put forward.</summary>
    private sealed class Clock : TimeProvider
    {
        public TimeSpan Ahead { get; set; }

        public override long GetTimestamp() => (long)((1 + Ahead.TotalSeconds) * TimestampFrequency);
    }
}
