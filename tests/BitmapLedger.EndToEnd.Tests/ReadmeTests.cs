using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>What the README tells users to type does what it says.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public async Task The_worked_examples_of_slices_and_HTTP_can_be_typed_as_they_stand()
    {
        await using var ledger = await Ledger.StartAsync();

        var slices = await TypeAsync(ledger, "### Slices");
        var http = await TypeAsync(ledger, "### HTTP");

        Assert.Contains("128 KiB of data changed", slices.Output, StringComparison.Ordinal);
        Assert.Contains("\"type\":\"end\",\"complete\":false", http.Output, StringComparison.Ordinal);
        var bitmaps = ledger.Json("volume", "show", "data").GetProperty("bitmaps");
        Assert.Equal("b1 all b0", string.Join(' ', bitmaps.EnumerateArray().Select(b => b.GetProperty("name").GetString())));
        Assert.Equal(2L << 30, ledger.Json("volume", "show", "data").GetProperty("size").GetInt64());
        Assert.True(ledger.Json("verify", "data").GetProperty("equal").GetBoolean());
    }

    /// <summary>Types the block of commands below a heading into a shell, which ends at the first that fails.</summary>
    private static async Task<ToolResult> TypeAsync(Ledger ledger, string heading)
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"));
        var section = readme[readme.IndexOf(heading, StringComparison.Ordinal)..];
        var block = section.Split("```")[1].Replace("tools/bml", Path.Combine(Repository.Programs, "bml"), StringComparison.Ordinal);
        return (await Tool.RunAsync(
            "bash", ["-euo", "pipefail", "-c", $"export BITMAPLEDGER_HOME='{ledger.DataDirectory}'\n{block}"])).Expect();
    }
}
