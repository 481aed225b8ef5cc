using System.Text.Json;
using BitmapLedger.Cli.Rendering;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Answers;

namespace BitmapLedger.Cli.Tests;

/// <summary>What people read, to the letter.</summary>
public sealed class RenderingTests
{
    private static readonly Style _plain = new(wanted: false);
    private static readonly PositionAnswer _at = new("now", 7, 42, "2026-11-22T21:36:03.123456Z");

    [Fact]
    public void Changed_says_how_much_where_and_how_far() => Golden(
        """
        68 KiB of disk changed after lsn 40 up to lsn 42
        OFFSET   LENGTH
        0        65536   64 KiB
        1048576  4096    4 KiB

        """,
        o => AnswerText.Changed(o, _plain, Changed(exact: true, [], [new(0, 65536), new(1 << 20, 4096)])));

    [Fact]
    public void A_changed_with_a_gap_says_so_before_anything_else_is_read() => Golden(
        """
        68 KiB of disk changed after lsn 40 up to lsn 42, perhaps less
        gap after lsn 40 up to lsn 41: the journal was lost

        """,
        o => AnswerText.Changed(o, _plain, Changed(exact: false, [new(40, 41, "the journal was lost")], [])));

    [Fact]
    public void Blocks_are_a_number_a_line_and_a_bitmap_is_as_json_has_it()
    {
        Golden(
            "68 KiB of disk changed after lsn 40 up to lsn 42\n0\n16\n",
            o => AnswerText.Changed(o, _plain, Changed(true, [], null) with { Blocks = [0, 16] }));
        Golden(
            "68 KiB of disk changed after lsn 40 up to lsn 42\nAQAB\n",
            o => AnswerText.Changed(o, _plain, Changed(true, [], null) with { Bitmap = [1, 0, 1] }));
    }

    [Fact]
    public void Volumes_stand_in_columns_as_wide_as_they_must_be() => Golden(
        """
        NAME  SIZE   STATE    LSN  SHIPPED  BITMAPS  CHECKPOINTS  BACKEND
        disk  1 GiB  serving  42   40       1        1            file:/x

        """,
        o => AnswerText.Volumes([Volume()]).Print(o, _plain));

    [Fact]
    public void A_volume_shows_everything_that_it_is() => Golden(
        """
        name        disk
        size        1 GiB (1073741824)
        backend     file:/x
        export      nbd://127.0.0.1:1/disk
        state       serving, read-only
        durability  process, when full stall
        lsn         42, shipped 40, 128 B waiting
        bitmap      b0  64 KiB  recording  transient
        checkpoint  monday  lsn 42  2026-11-22T21:36:03.123456Z

        """,
        o => AnswerText.Volume(o, Volume()));

    [Fact]
    public void Verify_names_the_event_from_which_on_bits_differ() => Golden(
        """
        disk at event 7, lsn 42: different from event 5 on
        NAME  LIVE  PROJECTED  REPLAYED
        b0    -     aa         bb

        """,
        o => AnswerText.Verify(o, _plain, new("disk", _at, Equal: false, FirstDifference: 5, [new("b0", null, "aa", "bb")])));

    [Fact]
    public void Verify_lists_slices_below_their_bitmaps() => Golden(
        """
        disk at event 7, lsn 42: equal
        NAME        LIVE  PROJECTED  REPLAYED
        b0          aa    aa         aa
        slice:b0/4  -     bb         bb

        """,
        o => AnswerText.Verify(
            o, _plain, new("disk", _at, Equal: true, FirstDifference: null, [new("b0", "aa", "aa", "aa")], [new("b0", 4, "bb", "bb")])));

    [Fact]
    public void A_step_of_a_projection_says_what_the_event_changed() => Golden(
        """
        event 7  2026-11-22T21:36:03.123456Z  WritesRecorded  lsn 40..42; what is stored is the same
          b0: 64 KiB set, 0 B cleared, 128 KiB dirty, sha256 aa, at 65536+65536 …
          slice:b0/4: removed, 64 KiB were dirty
          node of events 1 to 16: 64 KiB touched at 64 KiB, 40 bytes, with a gap; what is stored is missing
          last_lsn: 39 becomes 42

        """,
        o => StepText.Write(o, new(
            7, "WritesRecorded", _at.Time, new(40, 42), "same",
            [
                new("b0", null, 65_536, 0, 131_072, "aa", [new(65_536, 65_536)], ExtentsComplete: false),
                new("slice:b0/4", "removed", 0, 65_536, 0, null, [], null),
            ],
            [new(1, 1, 16, 65_536, 65_536, 40, Lost: true, Inexact: true, "missing")],
            [new("last_lsn", JsonSerializer.SerializeToElement(39), JsonSerializer.SerializeToElement(42))])));

    [Fact]
    public void Check_lists_each_damage_under_its_volume() => Golden(
        """
        a: 3 events with 2 writes, 1 journal segments with 2: whole
        b: 3 events with 2 writes, 1 journal segments with 2: not found whole
          LSN 3 stands where 2 is due

        """,
        o => AnswerText.Check(o, new(false, [new("a", 3, 2, 1, 2, []), new("b", 3, 2, 1, 2, ["LSN 3 stands where 2 is due"])])));

    [Fact]
    public void Slices_and_checkpoints_are_tables() => Golden(
        """
        SLICE  CAUSE   DIRTY    FROM LSN  TO LSN  BANKED                       SHA256
        4      manual  128 KiB  40        42      2026-11-22T21:36:03.123456Z  aa
        NAME    PARENT  EVENT  LSN  TIME                         CHANGED SINCE
        monday  -       7      42   2026-11-22T21:36:03.123456Z  64 KiB, perhaps less

        """,
        o =>
        {
            AnswerText.Slices(new([new(4, 131_072, "aa", _at with { Lsn = 40 }, _at, "manual")])).Print(o, _plain);
            AnswerText.Checkpoints(new([new("monday", null, _at, 65_536, Exact: false)])).Print(o, _plain);
        });

    [Fact]
    public void A_bank_says_what_had_to_go() => Assert.Equal(
        "disk: slice 5 of b0 (slice 3, slice 4 had to go), event 7, after lsn 42, 2026-11-22T21:36:03.123456Z",
        AnswerText.Banked(new("disk", 7, 42, _at.Time, 5, [new("b0", 3), new("b0", 4)]), "b0"));

    [Theory]
    [InlineData("VolumeResized", """{"size_before":1048576,"size":2097152}""", "1 MiB to 2 MiB")]
    [InlineData("BitmapMerged", """{"target":"t","sources":[{"name":"a"},{"name":"b","volume":"w"}]}""", "t from a, w:b")]
    [InlineData("RetentionSet", """{"bitmap":"b","slices":4,"overflow":"cycle"}""", "b keeps 4, then cycle")]
    [InlineData("SliceBanked", """{"bitmap":"b","slice":3}""", "b/3")]
    [InlineData("BitmapAdded", """{"name":"b"}""", "b")]
    [InlineData("SlicesReset", """{"bitmap":"b"}""", "b")]
    [InlineData("BackupCompleted", """{"job":"j"}""", "j")]
    [InlineData("VolumeRemoved", "{}", "")]
    public void A_history_says_what_each_event_was_about(string type, string data, string words) => Assert.Equal(
        words, EventWords.Of(new(7, type, _at.Time, new(42, 42), null, null, null, null, null, null, JsonDocument.Parse(data).RootElement)));

    [Fact]
    public void A_map_has_the_columns_of_nbdinfo()
    {
        Golden(
            "         0        4096    0  clean\n      4096        4096    1  dirty\n      8192         512    0  clean\n",
            o => AnswerText.Lines(o, DirtyMap.Lines([new(4096, 4096)], 8704)));
        Golden(
            "      4608  52.9%   0 clean\n      4096  47.1%   1 dirty\n", o => AnswerText.Lines(o, DirtyMap.Totals([new(4096, 4096)], 8704)));
    }

    [Fact]
    public void Names_cannot_command_a_terminal() => Golden(
        "NAME\na\\u001b[2Jb\n",
        o =>
        {
            var table = new TextTable("NAME");
            table.Add("a\e[2Jb");
            table.Print(o, _plain);
        });

    [Fact]
    public void A_stream_is_an_object_a_line_and_the_last_line_holds_the_rest()
    {
        Golden(
            """
            {"offset":0,"length":1}
            {"offset":2,"length":1}
            {"type":"end","complete":true,"volume":"v","exact":true}

            """,
            o => JsonLines.Write(o, """{"volume":"v","exact":true,"extents":[{"offset":0,"length":1},{"offset":2,"length":1}]}""", "extents", "blocks"));
        Golden(
            "{\"block\":3}\n{\"type\":\"end\",\"complete\":true}\n", o => JsonLines.Write(o, """{"blocks":[3]}""", "extents", "blocks"));
        Golden(
            "{\"lsn\":1}\n{\"type\":\"end\",\"complete\":false}\n", o => JsonLines.Write(o, """{"writes":[{"lsn":1}],"complete":false}""", "writes"));
        Golden(
            "{\"name\":\"v\"}\n{\"type\":\"end\",\"complete\":true}\n", o => JsonLines.Write(o, """{"name":"v"}"""));
    }

    [Theory]
    [InlineData(0, "rebuild … 3 s")]
    [InlineData(100, "rebuild [###############...............] 50 % 3 s")]
    public void A_bar_shows_the_share_that_is_done_where_it_is_known(long total, string bar) =>
        Assert.Equal(bar, Progress.Bar("rebuild", 3.2, total == 0 ? null : new Measure(total / 2, total)));

    [Fact]
    public async Task Progress_as_lines_begins_at_once_and_ends_with_the_work()
    {
        using var lines = new StringWriter();
        await using (new Progress(new ProgressTarget(lines, Bar: false), "verify", () => Task.FromResult<Measure?>(new(1, 4))))
        {
        }

        var told = lines.ToString().TrimEnd().Split('\n').Select(l => JsonDocument.Parse(l).RootElement).ToList();
        Assert.Equal(4, told[0].GetProperty("total").GetInt64());
        Assert.Equal("progress", told[0].GetProperty("type").GetString());
        Assert.False(told[0].GetProperty("finished").GetBoolean());
        Assert.True(told[^1].GetProperty("finished").GetBoolean());
    }

    [Theory]
    [InlineData("list", "lst", 1)]
    [InlineData("list", "list", 0)]
    [InlineData("--json", "--jsonl", 1)]
    public void Slips_count_letters(string from, string to, int slips) => Assert.Equal(slips, Suggestion.Slips(from, to));

    private static void Golden(string expected, Action<TextWriter> print)
    {
        using var output = new StringWriter();
        print(output);
        Assert.Equal(expected, output.ToString());
    }

    private static ChangedAnswer Changed(bool exact, IReadOnlyList<GapAnswer> gaps, IReadOnlyList<ExtentAnswer>? extents) =>
        new("disk", _at with { Lsn = 40 }, _at, 65536, new(1 << 30, 1 << 30), exact, gaps, 69_632, extents);

    private static VolumeAnswer Volume() => new(
        "disk", 1 << 30, "file:/x", "nbd://127.0.0.1:1/disk", "serving", "process", "stall", ReadOnly: true, new(42, 40), 128, 7,
        [new("b0", 65536, true, false, false, false)], [new("monday", null, _at)], Event: 7);
}
