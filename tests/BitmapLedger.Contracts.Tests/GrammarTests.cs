using System.Text.Json;
using BitmapLedger.Contracts.Answers;
using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Contracts.Tests;

public sealed class GrammarTests
{
    public static TheoryData<string, Point> Good => new()
    {
        { "now", new Point.Now() },
        { "start", new Point.Start() },
        { "event:17", new Point.AtEvent(17) },
        { "lsn:0", new Point.AtLsn(0) },
        { "checkpoint:nightly: 1/2", new Point.AtCheckpoint("nightly: 1/2") },
        { "slice:a/b/4", new Point.AtSlice("a/b", 4, Begin: false) },
        { "slice-start:b0/4", new Point.AtSlice("b0", 4, Begin: true) },
        { "-90s", new Point.Ago(TimeSpan.FromSeconds(90)) },
        { "-3d", new Point.Ago(TimeSpan.FromDays(3)) },
        { "2026-11-22T21:36:03.123456Z", new Point.AtInstant(
            new DateTimeOffset(2026, 11, 22, 21, 36, 3, TimeSpan.Zero).AddTicks(1_234_560)) },
        { "2026-11-22T22:36:03+01:00", new Point.AtInstant(
            new DateTimeOffset(2026, 11, 22, 21, 36, 3, TimeSpan.Zero)) },
    };

    [Theory]
    [MemberData(nameof(Good))]
    public void Points_of_the_spec_are_read(string text, Point point)
    {
        Assert.Equal(point, Point.TryParse(text, out var fault));
        Assert.Empty(fault);
    }

    [Theory]
    [InlineData("")]
    [InlineData("yesterday")]
    [InlineData("event:0")]
    [InlineData("event:-1")]
    [InlineData("lsn:x")]
    [InlineData("checkpoint:")]
    [InlineData("checkpoint:a\0b")]
    [InlineData("slice:b0")]
    [InlineData("-5")]
    [InlineData("-0s")]
    [InlineData("-99999999999999999999d")]
    [InlineData("2026-11-22")]
    [InlineData("2026-13-22T21:36:03Z")]
    public void What_is_no_point_is_named_with_the_way_out(string text)
    {
        Assert.Null(Point.TryParse(text, out var fault));
        Assert.StartsWith($"'{text}' is no point in time; write now", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("0s", 0)]
    [InlineData("90m", 5400)]
    [InlineData("12h", 43_200)]
    [InlineData("30d", 2_592_000)]
    [InlineData("1y", 31_536_000)]
    [InlineData("1000y", 31_536_000_000)]
    public void Ages_are_whole_numbers_with_a_unit(string text, long seconds)
    {
        Assert.Equal(TimeSpan.FromSeconds(seconds), Age.TryParse(text, out var fault));
        Assert.Empty(fault);
    }

    [Theory]
    [InlineData("", "is no age; write")]
    [InlineData("d", "is no age; write")]
    [InlineData("30", "is no age; write")]
    [InlineData("30w", "is no age; write")]
    [InlineData("-1d", "is no age; write")]
    [InlineData("1.5d", "is no age; write")]
    [InlineData(" 1d", "is no age; write")]
    [InlineData("1001y", "is more than 1000y")]
    [InlineData("99999999999999999999s", "is more than 1000y")]
    public void What_is_no_age_is_named_with_the_way_out(string text, string why)
    {
        Assert.Null(Age.TryParse(text, out var fault));
        Assert.StartsWith($"'{text}' {why}", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("1048576", 1048576L)]
    [InlineData("64K", 65536L)]
    [InlineData("64k", 65536L)]
    [InlineData("1.5G", 1610612736L)]
    [InlineData("8P", 9007199254740992L)]
    [InlineData("8191.5P", 9222809086901354496L)]
    [InlineData("9223372036854775807", long.MaxValue)]
    public void Sizes_are_binary_as_qemu_img_has_them(string text, long bytes) =>
        Assert.Equal(bytes, ByteSize.TryParse(text, out _));

    [Theory]
    [InlineData("")]
    [InlineData("K")]
    [InlineData("-5")]
    [InlineData("1X")]
    [InlineData("1.5")]
    [InlineData("99999999P")]
    [InlineData("8192P")]
    [InlineData("9223372036854775808")]
    [InlineData("79228162514264337593543950335P")]
    public void What_is_no_size_is_named(string text)
    {
        Assert.Null(ByteSize.TryParse(text, out var fault));
        Assert.Contains($"'{text}'", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(511, "511 B")]
    [InlineData(65536, "64 KiB")]
    [InlineData(1610612736, "1.5 GiB")]
    public void Sizes_for_people_are_in_binary_units(long bytes, string text) =>
        Assert.Equal(text, ByteSize.Show(bytes));

    [Fact]
    public void The_answer_to_changed_has_the_fields_of_the_spec_and_no_others()
    {
        var at = new PositionAnswer("now", 17, 40211, "2026-11-22T21:36:03.123456Z");

        var json = JsonSerializer.Serialize(
            new ChangedAnswer(
                "v", at, at, 65536, new(1, 2), true, [], 65536, [new(0, 65536)]), ApiJson.Default.ChangedAnswer);

        Assert.Equal(
            """
            {"volume":"v","from":{"asked":"now","event":17,"lsn":40211,"time":"2026-11-22T21:36:03.123456Z"},
            "to":{"asked":"now","event":17,"lsn":40211,"time":"2026-11-22T21:36:03.123456Z"},"granularity":65536,
            "size":{"from":1,"to":2},"exact":true,"gaps":[],"changed_bytes":65536,"extents":[{"offset":0,"length":65536}]}
            """.ReplaceLineEndings(""),
            json);
    }

    [Fact]
    public void An_lsn_is_a_number_at_a_command_and_first_and_last_over_writes()
    {
        Assert.Equal("5", JsonSerializer.Serialize(new LsnSpan(5, 5)));
        Assert.Equal("""{"first":5,"last":5}""", JsonSerializer.Serialize(new LsnSpan(5, 5, IsRange: true)));
        Assert.Equal("""{"first":1,"last":9}""", JsonSerializer.Serialize(new LsnSpan(1, 9, IsRange: true)));
        Assert.Equal(new LsnSpan(1, 9, IsRange: true), JsonSerializer.Deserialize<LsnSpan>("""{"last":9,"first":1}"""));
    }

    [Theory]
    [InlineData(ErrorCode.NotFound, 10)]
    [InlineData(ErrorCode.Busy, 11)]
    [InlineData(ErrorCode.Damaged, 12)]
    [InlineData(ErrorCode.HistoryGone, 13)]
    [InlineData(ErrorCode.BadPoint, 64)]
    [InlineData(ErrorCode.Bug, 70)]
    [InlineData(ErrorCode.Exists, 1)]
    public void Exit_codes_are_those_of_the_spec(string code, int exitCode) =>
        Assert.Equal(exitCode, ExitCode.Of(code));
}
