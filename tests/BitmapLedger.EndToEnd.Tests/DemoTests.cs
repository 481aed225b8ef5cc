using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

public sealed class DemoTests
{
    [Fact]
    public async Task The_tour_ends_by_itself_with_bits_proved_equal_and_leaves_nothing_behind()
    {
        var demo = await Tool.RunAsync(Path.Combine(Repository.Programs, "bml"), ["demo"]);

        Assert.Equal(0, demo.ExitCode);
        Assert.Contains("$ kill -9", demo.Output, StringComparison.Ordinal);
        Assert.Contains("slice 0 of b0", demo.Output, StringComparison.Ordinal);
        Assert.Contains("64 KiB of disk changed", demo.Output, StringComparison.Ordinal);
        Assert.Contains(": equal", demo.Output, StringComparison.Ordinal);
        var directory = demo.Output.Split("data-dir=")[1].Split('\n')[0];
        Assert.False(Directory.Exists(directory), directory);
    }
}
