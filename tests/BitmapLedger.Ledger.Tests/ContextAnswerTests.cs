using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.Contracts.Control;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Describing;
using BitmapLedger.Ledger.Storing;
using Microsoft.Extensions.Logging.Abstractions;

namespace BitmapLedger.Ledger.Tests;

/// <summary>What the Agent is answered when a client negotiates a context of the past.</summary>
public sealed class ContextAnswerTests(PostgresFixture postgres)
{
    private const long MiB = 1 << 20;
    private static readonly CancellationToken _none = CancellationToken.None;

    [Fact]
    public async Task The_bits_lie_in_a_file_that_only_their_user_may_read()
    {
        var database = await postgres.DatabaseAsync();
        await using var ledger = await TestLedger.StartAsync(database);
        using var answers = Answers(ledger, database);
        await ledger.DecideAsync(new VolumeCommand.AddBitmap("b0", 4096, false, true));
        ledger.Write((0, 512), (MiB, 512));

        Assert.Equal([(MiB, 65_536)], Take(ledger, await answers.AnswerAsync(new ChangedBits(ledger.VolumeId, "lsn:1", To: null, 2), _none)));
        Assert.Equal([(0, 4096)], Take(ledger, await answers.AnswerAsync(new BitsAt(ledger.VolumeId, "b0", "lsn:1"), _none)));
    }

    [Fact]
    public async Task A_write_that_the_agent_knows_and_the_ledger_does_not_is_not_passed_over()
    {
        var database = await postgres.DatabaseAsync();
        await using var ledger = await TestLedger.StartAsync(database);
        using var answers = Answers(ledger, database);
        ledger.Write((0, 512), (MiB, 512));

        var refused = Assert.IsType<Failed>(await answers.AnswerAsync(new ChangedBits(ledger.VolumeId, "start", "now", 3), _none));

        Assert.Equal(("busy", "volume 'v' is recorded up to write 2 and not yet up to 3; try again"), (refused.Code, refused.Message));
    }

    [Fact]
    public async Task A_bitmap_that_is_inconsistent_is_refused_for_as_long_as_it_is()
    {
        var database = await postgres.DatabaseAsync();
        await using var ledger = await TestLedger.StartAsync(database);
        using var answers = Answers(ledger, database);
        using var bits = new NativeBitmap(TestLedger.Size, Granularity.Default);
        await ledger.DecideAsync(new VolumeCommand.ImportBitmap(
            "bad", Granularity.Default.Bytes, new(Disabled: false, Persistent: true, Inconsistent: true), BitmapCodec.Encode(bits), "a test"));

        var refused = Assert.IsType<Failed>(await answers.AnswerAsync(new BitsAt(ledger.VolumeId, "bad", "now"), _none));

        Assert.Equal("Bitmap 'bad' is inconsistent and cannot be used; at now", refused.Message);
        Assert.False(Directory.Exists(ledger.Settings.BitsDirectory));
    }

    [Fact]
    public async Task What_is_not_there_is_refused_by_name_and_no_question_ends_with_an_exception()
    {
        var database = await postgres.DatabaseAsync();
        await using var ledger = await TestLedger.StartAsync(database);
        using var answers = Answers(ledger, database);
        using var cancelled = new CancellationTokenSource();
        await cancelled.CancelAsync();
        var other = Guid.CreateVersion7();

        Assert.Equal($"volume {other} is not in the ledger", await RefusalAsync(answers, new ChangedBits(other, "start", To: null, 0)));
        Assert.Equal($"volume {other} is not in the ledger", await RefusalAsync(answers, new ListRanges(other)));
        Assert.Equal("Checkpoint 'c' of volume 'v' not found", await RefusalAsync(answers, new ChangedBits(ledger.VolumeId, "checkpoint:c", "now", 0)));
        Assert.Equal("unknown question Status", await RefusalAsync(answers, new Status()));
        Assert.Equal("busy", Assert.IsType<Failed>(await answers.AnswerAsync(new ListRanges(ledger.VolumeId), cancelled.Token)).Code);
    }

    [Fact]
    public async Task Checkpoints_and_kept_slices_are_listed_as_ranges_and_a_list_that_would_be_too_long_is_cut()
    {
        var database = await postgres.DatabaseAsync();
        await using var ledger = await TestLedger.StartAsync(database);
        using var answers = Answers(ledger, database);
        await ledger.CommandAsync(lsn => new CheckpointCreated("c0", ["v"], lsn));

        Assert.Equal(["x-bitmapledger:changed:checkpoint:c0..now"], await ListAsync());
        var name = new string('x', 250);
        await ledger.AppendAsync(2, [.. Enumerable.Range(0, 8000).Select(i => new CheckpointCreated($"{i:00000}{name}", ["v"], 0))]);

        var listed = await ListAsync();
        Assert.InRange(listed.Count, 5000, 7999);
        Assert.InRange(new ControlFrame(1, null, new RangeNames(listed)).Encode().Length, 1 << 20, ControlFrame.BytesMax);

        async Task<IReadOnlyList<string>> ListAsync() =>
            Assert.IsType<RangeNames>(await answers.AnswerAsync(new ListRanges(ledger.VolumeId), _none)).Names;
    }

    private static async Task<string> RefusalAsync(ContextAnswers answers, ControlRequest question) =>
        Assert.IsType<Failed>(await answers.AnswerAsync(question, _none)).Message;

    private static (long, long)[] Take(TestLedger ledger, ControlReply answer)
    {
        var path = Path.Combine(ledger.Settings.BitsDirectory, Assert.IsType<BitsFile>(answer).File);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.Equal(CodecFault.None, BitmapCodec.TryRead(File.ReadAllBytes(path), out var bits));
        using (bits)
            return [.. bits!.Extents().Select(e => (e.Offset, e.Length))];
    }

    private static ContextAnswers Answers(TestLedger ledger, string database) => new(
        ledger.Points, new(ledger.Index), ledger.Index, ledger.Streams,
        new PostgresWatch(database, TimeProvider.System, NullLogger<PostgresWatch>.Instance), ledger.Settings,
        NullLogger<ContextAnswers>.Instance);
}
