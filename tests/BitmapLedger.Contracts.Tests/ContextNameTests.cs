using BitmapLedger.Contracts.Points;

namespace BitmapLedger.Contracts.Tests;

public sealed class ContextNameTests
{
    public static TheoryData<string, ContextName, bool> Good => new()
    {
        { "changed:lsn:5..now", new ContextName.Changed("lsn:5", "now"), true },
        { "changed:lsn:5", new ContextName.Changed("lsn:5", null), true },
        { "changed:-2h..-1h", new ContextName.Changed("-2h", "-1h"), false },
        { "changed:checkpoint:nightly..now", new ContextName.Changed("checkpoint:nightly", "now"), true },
        { "changed:checkpoint:a, b: 1/2..checkpoint:c", new ContextName.Changed("checkpoint:a, b: 1/2", "checkpoint:c"), false },
        { "changed:slice:b0/4..now", new ContextName.Changed("slice:b0/4", "now"), true },
        { "changed:slice:a..now/4..now", new ContextName.Changed("slice:a..now/4", "now"), true },
        { "changed:slice-start:a..b/4", new ContextName.Changed("slice-start:a..b/4", null), true },
        {
            "changed:2026-11-22T21:36:03Z..2026-11-22T21:36:04.5Z",
            new ContextName.Changed("2026-11-22T21:36:03Z", "2026-11-22T21:36:04.5Z"), false
        },
        { "bitmap:b0@event:17", new ContextName.Bitmap("b0", "event:17"), false },
        { "bitmap:a@b@now", new ContextName.Bitmap("a@b", "now"), false },
        { "bitmap:x:y, ü/1@checkpoint:mon", new ContextName.Bitmap("x:y, ü/1", "checkpoint:mon"), false },
    };

    [Theory]
    [MemberData(nameof(Good))]
    public void Contexts_of_the_spec_are_read(string text, ContextName name, bool isLive)
    {
        Assert.Equal(name, ContextName.TryParse(ContextName.Namespace + text, out var fault));
        Assert.Empty(fault);
        Assert.Equal(isLive, name is ContextName.Changed { IsLive: true });
    }

    [Theory]
    [InlineData("", "there is no context of that name; write x-bitmapledger:changed:FROM..TO")]
    [InlineData("change:lsn:5", "there is no context of that name")]
    [InlineData("changed:", "'' is no point in time")]
    [InlineData("changed:lsn:5..", "'' is no point in time")]
    [InlineData("changed:..now", "'..now' is no point in time")]
    [InlineData("changed:lsn:5..later", "'later' is no point in time")]
    [InlineData("changed:checkpoint:a\0b", "is no point in time")]
    [InlineData("bitmap:b0", "'b0' is no bitmap at a point; write NAME@POINT, or qemu:dirty-bitmap:NAME")]
    [InlineData("bitmap:@now", "'@now' is no bitmap at a point")]
    [InlineData("bitmap:b0@", "'' is no point in time")]
    [InlineData("bitmap:b0@lsn:-1", "'lsn:-1' is no point in time")]
    public void What_is_no_context_is_named_with_the_way_out(string text, string expected)
    {
        Assert.Null(ContextName.TryParse(ContextName.Namespace + text, out var fault));
        Assert.Contains(expected, fault, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_that_is_longer_than_NBD_allows_is_refused_before_it_is_looked_at()
    {
        var longest = ContextName.Namespace + "changed:checkpoint:";
        longest += new string('ü', (ContextName.BytesMax - longest.Length) / 2);

        Assert.NotNull(ContextName.TryParse(longest, out _));
        Assert.Null(ContextName.TryParse(longest + "üü", out var fault));
        Assert.Equal("it is longer than 4096 bytes", fault);
    }

    [Theory]
    [InlineData("b0")]
    [InlineData("a/b")]
    [InlineData("a..b")]
    [InlineData("x/1..now")]
    [InlineData("x/1..start/2")]
    [InlineData("é, \"q\": 1@2")]
    public void A_listed_slice_means_itself(string bitmap) => Assert.Equal(
        new ContextName.Changed($"slice:{bitmap}/7", "now"), ContextName.TryParse(ContextName.SinceSlice(bitmap, 7), out _));

    [Theory]
    [InlineData("nightly")]
    [InlineData("a.")]
    [InlineData("slice:b0/4")]
    [InlineData("é, \"q\": 1/2")]
    public void A_listed_checkpoint_means_itself(string checkpoint) => Assert.Equal(
        new ContextName.Changed($"checkpoint:{checkpoint}", "now"), ContextName.TryParse(ContextName.SinceCheckpoint(checkpoint), out _));
}
