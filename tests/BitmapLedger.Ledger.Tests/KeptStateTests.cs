using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Journal;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Ledger.Connecting;
using BitmapLedger.Ledger.Shipping;
using BitmapLedger.Ledger.Storing;
using Marten;
using Marten.Services;
using Npgsql;

namespace BitmapLedger.Ledger.Tests;

/// <summary>The state that is kept of a volume between commands: never believed where it may not be what the stream says.</summary>
public sealed class KeptStateTests(PostgresFixture postgres)
{
    private static readonly CancellationToken _none = CancellationToken.None;

    // Method: 300 random commands, alone and as transactions, refused or done, with writes between them; behind each the kept
    // state beside the stored one.
    [Fact]
    public async Task Whatever_was_commanded_the_kept_state_is_the_stored_one()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        var random = new Random(7);
        var done = 0;
        for (var i = 0; i < 300; i++)
        {
            if (random.Next(3) == 0)
                ledger.Write((random.Next(1 << 14) * 512L, 512));
            var outcome = await commanded.DoAsync([.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Next(random, i))]);
            done += outcome.Refusal is null ? 1 : 0;
            await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
        }

        Assert.InRange(done, 60, 299);
    }

    [Fact]
    public async Task A_command_is_not_refused_for_what_another_session_has_changed()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        await AppendBesideAsync(ledger, 2, new BitmapAdded("b1", 4096, false, true, 0));

        await commanded.DoneAsync(new VolumeCommand.ClearBitmap("b1"));
    }

    [Fact]
    public async Task A_command_that_changes_nothing_is_not_left_out_for_what_another_session_has_changed()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        await AppendBesideAsync(ledger, 2, new VolumeResized(TestLedger.Size, TestLedger.Size / 2, 0));

        await commanded.DoneAsync(new VolumeCommand.ResizeVolume(TestLedger.Size));

        Assert.Equal(
            (4, TestLedger.Size), await ledger.Streams.LoadAsync(ledger.VolumeId, _none) is { } s ? (s.Event, s.Size) : default);
    }

    [Fact]
    public async Task An_event_that_is_expected_is_looked_for_in_the_stream()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        await AppendBesideAsync(ledger, 2, new BitmapAdded("b1", 4096, false, true, 0));

        await Assert.ThrowsAsync<ExpectationException>(() => commanded.DoAtAsync(2, new VolumeCommand.ClearBitmap("b0")));
        Assert.Null((await commanded.DoAtAsync(3, new VolumeCommand.ClearBitmap("b0"))).Refusal);
    }

    [Fact]
    public async Task What_another_session_appended_is_busy_for_one_command_and_known_to_the_next()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        await AppendBesideAsync(ledger, 2, new BitmapRemoved("b0", "command", 0));

        var busy = await Assert.ThrowsAsync<LedgerException>(() => commanded.DoAsync(new VolumeCommand.ClearBitmap("b0")));
        Assert.Equal(ErrorCode.Busy, busy.Code);
        Assert.Equal(1, commanded.Agent.Meetings);
        Assert.Equal(ErrorCode.NotFound, (await commanded.DoAsync(new VolumeCommand.ClearBitmap("b0"))).Refusal?.Code);
        await AppendBesideAsync(ledger, 3, new VolumeRemoved(0));
        Assert.Equal(ErrorCode.NotFound, (await commanded.DoAsync(new VolumeCommand.ClearBitmap("b0"))).Refusal?.Code);
    }

    [Fact]
    public async Task Writes_that_another_session_shipped_are_shipped_once()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        ledger.Write((0, 512), (512, 512));
        await ledger.NewShipper().ShipAllAsync(ledger.VolumeId, _none);

        await Assert.ThrowsAsync<LedgerException>(() => commanded.DoAsync(new VolumeCommand.ClearBitmap("b0")));
        await commanded.DoneAsync(new VolumeCommand.ClearBitmap("b0"));

        Assert.Equal((4, 2), await ledger.Streams.LoadAsync(ledger.VolumeId, _none) is { } s ? (s.Event, s.LastLsn) : default);
        await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
    }

    [Fact]
    public async Task A_commit_whose_acknowledgement_is_lost_is_done_once_and_the_next_command_stands_behind_it()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));

        commanded.AfterCommit = new NpgsqlException("cut", new IOException("end"));
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b1", 4096, false, true));
        await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
        await commanded.DoneAsync(new VolumeCommand.RemoveBitmap("b1"));

        Assert.Equal(4, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Behind_a_commit_of_which_nobody_knows_whether_it_happened_the_stream_is_asked(bool happened)
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));

        if (happened)
            commanded.AfterCommit = new OperationCanceledException();
        else
            commanded.BeforeCommit = new OperationCanceledException();
        await Assert.ThrowsAsync<OperationCanceledException>(
            () => commanded.DoAsync(new VolumeCommand.AddBitmap("b1", 4096, false, true)));
        Assert.Equal(1, commanded.Agent.Meetings);
        await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
        await commanded.DoneAsync(new VolumeCommand.ClearBitmap("b0"));

        Assert.Equal(happened ? 4 : 3, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event);
    }

    [Fact]
    public async Task Behind_writes_of_which_nobody_knows_whether_they_were_shipped_the_stream_is_asked()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        ledger.Write((0, 512));

        commanded.AfterCommit = new OperationCanceledException();
        await Assert.ThrowsAsync<OperationCanceledException>(() => commanded.DoAsync(new VolumeCommand.ClearBitmap("b0")));
        await commanded.DoneAsync(new VolumeCommand.ClearBitmap("b0"));

        Assert.Equal((4, 1), await ledger.Streams.LoadAsync(ledger.VolumeId, _none) is { } s ? (s.Event, s.LastLsn) : default);
    }

    [Fact]
    public async Task A_transaction_that_fails_at_one_volume_leaves_the_state_of_the_other_as_it_was()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        var other = await commanded.AddVolumeAsync("w");
        Assert.Null((await commanded.DoAsync(Both("b0"))).Refusal);
        var refused = await commanded.DoAsync([.. Both("b1"), new(Guid.Empty, new VolumeCommand.Abort())]);
        Assert.NotNull(refused.Refusal);
        await AppendBesideAsync(ledger, other, 2, new BitmapAdded("b9", 4096, false, true, 0));

        await Assert.ThrowsAsync<LedgerException>(() => commanded.DoAsync(Both("b1")));
        await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
        await commanded.AssertKeptIsStoredAsync(other);
        Assert.Null((await commanded.DoAsync(Both("b1"))).Refusal);

        Assert.Equal(3, (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!.Event);
        Assert.Equal(4, (await ledger.Streams.LoadAsync(other, _none))!.Event);

        VolumeAction[] Both(string name) =>
        [
            new(ledger.VolumeId, new VolumeCommand.AddBitmap(name, 4096, false, true)),
            new(other, new VolumeCommand.AddBitmap(name, 4096, false, true)),
        ];
    }

    [Fact]
    public async Task A_state_too_large_to_be_kept_is_asked_for_and_writes_are_shipped_behind_it()
    {
        await using var ledger = await TestLedger.StartAsync(postgres);
        await using var commanded = new Commanded(ledger);
        long[] sizes = [TestLedger.Size, TestLedger.Size - 512];
        await ledger.AppendAsync(1, [.. Enumerable.Range(1, 5000).Select(i => new VolumeResized(sizes[(i - 1) % 2], sizes[i % 2], 0))]);
        await commanded.DoneAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        for (var i = 0; i < 3; i++)
        {
            ledger.Write((i * 512, 512));
            await commanded.DoneAsync(new VolumeCommand.ClearBitmap("b0"));
            await commanded.AssertKeptIsStoredAsync(ledger.VolumeId);
        }

        var state = (await ledger.Streams.LoadAsync(ledger.VolumeId, _none))!;
        Assert.Equal((5001, 5008, 3), (state.Sizes.Count, state.Event, state.LastLsn));
    }

    private static VolumeCommand Next(Random random, int number)
    {
        var name = $"b{random.Next(3)}";
        return random.Next(16) switch
        {
            < 3 => new VolumeCommand.AddBitmap(name, 512 << random.Next(8), random.Next(4) == 0, random.Next(2) == 0),
            3 => new VolumeCommand.RemoveBitmap(name),
            4 or 5 => new VolumeCommand.ClearBitmap(name),
            6 => new VolumeCommand.EnableBitmap(name),
            7 => new VolumeCommand.DisableBitmap(name),
            8 => new VolumeCommand.SetRetention(name, random.Next(4)),
            9 or 10 => new VolumeCommand.BankSlice(name, random.Next(2) == 0),
            11 => new VolumeCommand.CreateCheckpoint($"c{number}", ["v"]),
            12 => new VolumeCommand.DeleteCheckpoint($"c{number - 2}"),
            13 => new VolumeCommand.MergeBitmap(name, [new($"b{random.Next(3)}")]),
            14 => new VolumeCommand.ResizeVolume(TestLedger.Size - (random.Next(8) << 20)),
            _ => new VolumeCommand.DeleteSlice(name, random.Next(6)),
        };
    }

    private static Task<CommandRecord?> AppendBesideAsync(TestLedger ledger, long expectedEvent, IVolumeEvent happened) =>
        AppendBesideAsync(ledger, ledger.VolumeId, expectedEvent, happened);

    /// <summary>Appends as another process would: nobody here is told.</summary>
    private static Task<CommandRecord?> AppendBesideAsync(TestLedger ledger, Guid volume, long expectedEvent, IVolumeEvent happened) =>
        ledger.Streams.AppendAsync([new(volume, expectedEvent, [new(happened, DateTimeOffset.UnixEpoch)])], null, null, _none);

    /// <summary>Commands as the server carries them out, over a store whose commits can be cut off.</summary>
    private sealed class Commanded : DocumentSessionListenerBase, IAsyncDisposable
    {
        private readonly TestLedger _ledger;
        private readonly DocumentStore _store;
        private readonly VolumeStreams _streams;
        private readonly Shipper _shipper;
        private readonly List<JournalWriter> _others = [];

        public Commanded(TestLedger ledger)
        {
            _ledger = ledger;
            _store = DocumentStore.For(o =>
            {
                LedgerRegistration.Configure(o, ledger.Source);
                o.Listeners.Add(this);
            });
            _streams = new(_store, TimeProvider.System);
            Agent = new();
            Agent.Journals[ledger.VolumeId] = ledger.Journal;
            _shipper = new(_streams, Agent, ledger.Settings, TimeProvider.System);
        }

        public CuttingAgent Agent { get; }

        /// <summary>How the next commit fails before it is tried.</summary>
        public Exception? BeforeCommit { get; set; }

        /// <summary>How the next commit seems to fail when it is done.</summary>
        public Exception? AfterCommit { get; set; }

        public async Task<Guid> AddVolumeAsync(string name)
        {
            var id = Guid.CreateVersion7();
            var created = new VolumeCreated(name, TestLedger.Size, $"file:/{name}", $"/{name}", false, "process", "stall", 0);
            await _ledger.Streams.AppendAsync([new(id, 0, [new(created, DateTimeOffset.UnixEpoch)])], null, null, _none);
            var journal = JournalWriter.Open(
                new(_ledger.Settings.Journal(id), id, 1L << 30, 0, TimeProvider.System, SegmentBytes: 64 << 10));
            _others.Add(journal);
            Agent.Journals[id] = journal;
            return id;
        }

        public Task<CommandOutcome> DoAsync(params VolumeCommand[] commands) =>
            DoAsync([.. commands.Select(c => new VolumeAction(_ledger.VolumeId, c))]);

        public Task<CommandOutcome> DoAsync(VolumeAction[] actions) => DoAsync(actions, expectedEvent: null);

        public Task<CommandOutcome> DoAtAsync(long expectedEvent, VolumeCommand command) =>
            DoAsync([new(_ledger.VolumeId, command)], expectedEvent);

        public async Task DoneAsync(VolumeCommand command) => Assert.Null((await DoAsync(command)).Refusal);

        public async Task AssertKeptIsStoredAsync(Guid volume)
        {
            var kept = await _shipper.StateAsync(volume, _none);
            var serializer = _ledger.Store.Options.Serializer();
            Assert.Equal(serializer.ToJson((await _ledger.Streams.LoadAsync(volume, _none))!), serializer.ToJson(kept));
        }

        public override Task BeforeSaveChangesAsync(IDocumentSession session, CancellationToken token)
        {
            var failure = BeforeCommit;
            BeforeCommit = null;
            return failure is null ? Task.CompletedTask : Task.FromException(failure);
        }

        public override Task AfterCommitAsync(IDocumentSession session, IChangeSet commit, CancellationToken token)
        {
            var failure = AfterCommit;
            AfterCommit = null;
            return failure is null ? Task.CompletedTask : Task.FromException(failure);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var id in Agent.Journals.Keys)
                _shipper.Forget(id);
            _others.ForEach(j => j.Dispose());
            await _store.DisposeAsync();
        }

        private Task<CommandOutcome> DoAsync(VolumeAction[] actions, long? expectedEvent) => CarryOutHandler.HandleAsync(
            new(
                actions, [.. actions.Where(a => a.Command is not VolumeCommand.Abort).Select(a => a.Volume).Distinct()],
                new("test", "test", CommandId: null) { ExpectedEvent = expectedEvent }, "",
                new(0, 0, Guid.NewGuid(), [], [], [], new(null, []))),
            _streams, _shipper, Agent, _none);
    }

    /// <summary>An Agent that cuts journals and keeps no bits.</summary>
    private sealed class CuttingAgent : IAgent
    {
        public Dictionary<Guid, JournalWriter> Journals { get; } = [];

        /// <summary>How often it was to be met again.</summary>
        public int Meetings { get; private set; }

        public string BitsDirectory => "";

        public bool IsConnected => true;

        public Task<ControlReply> AskAsync(ControlRequest request, CancellationToken cancellation) =>
            Task.FromResult<ControlReply>(request is Rotate rotate ? new Rotated([.. rotate.Volumes.Select(v => Cut(v.Id))]) : new Done());

        public void MeetAgain() => Meetings++;

        private Fence Cut(Guid volume)
        {
            var cut = Journals[volume].AppendFence();
            return new(volume, cut.Number, cut.Lsn, cut.TimeMicroseconds);
        }
    }
}
