using System.CommandLine;
using System.Text.Json;
using BitmapLedger.Contracts;

namespace BitmapLedger.Cli.Tests;

/// <summary>The words of the command line, without a server.</summary>
public sealed class GrammarTests
{
    [Theory]
    [InlineData("serve --volume a=file:/x --volume b=file:/y --nbd nbd://127.0.0.1:0 --http 127.0.0.1:0 --database Host=x --journal-quota 1G")]
    [InlineData("demo --keep")]
    [InlineData("volume create v --size 1G --file /x --durability process --when-full fail")]
    [InlineData("volume add v --backend file:/x --read-only --durability process --when-full stall")]
    [InlineData("volume list")]
    [InlineData("volume show v")]
    [InlineData("volume resize v --size 2G")]
    [InlineData("volume remove v")]
    [InlineData("bitmap add v b --granularity 4K --disabled --transient")]
    [InlineData("bitmap remove v b")]
    [InlineData("bitmap clear v b")]
    [InlineData("bitmap enable v b")]
    [InlineData("bitmap disable v b")]
    [InlineData("bitmap list v")]
    [InlineData("bitmap show v b")]
    [InlineData("bitmap merge v target b0 w:b1")]
    [InlineData("retention set v b --slices 4 --overflow cycle --force-cycle")]
    [InlineData("slice list v b")]
    [InlineData("slice bank v b --force-cycle")]
    [InlineData("slice delete v b 3")]
    [InlineData("checkpoint create v w c")]
    [InlineData("checkpoint list v")]
    [InlineData("checkpoint delete v c")]
    [InlineData("changed v --from -5m --to now --granularity 4K --map --totals --format extents --strict")]
    [InlineData("replay v --at lsn:0 --bitmap b --map --format blocks --strict")]
    [InlineData("history v --from start --to now --type VolumeCreated --type BitmapAdded --offset 0 --length 1 --follow")]
    [InlineData("blame v --offset 1K --length 4K --from start --to now --limit 3")]
    [InlineData("verify")]
    [InlineData("verify v --at event:1")]
    [InlineData("check")]
    [InlineData("repair v")]
    [InlineData("projection status")]
    [InlineData("projection rebuild")]
    [InlineData("projection rebuild bitmap-bits")]
    [InlineData("projection step v bitmap-bits --from start --to now")]
    [InlineData("projection step v union-tree --from event:3..-5m")]
    [InlineData("db status --database Host=x")]
    [InlineData("db apply")]
    [InlineData("db dump --output x")]
    [InlineData("history retain v --exact 30d --coalesced 1y --dry-run")]
    [InlineData("version --data-dir /x --json --jsonl --quiet --no-color --progress none --command-id x")]
    public void Every_verb_of_the_spec_is_understood(string line) =>
        Assert.Empty(new CommandLine().Parse(line.Split(' ')).Errors);

    [Theory]
    [InlineData("b0", null, "b0")]
    [InlineData("w:b0", "w", "b0")]
    [InlineData("w:a:b", "w", "a:b")]
    public void A_merge_source_with_a_colon_names_a_volume(string text, string? volume, string name) =>
        Assert.Equal((volume, name), (BitmapVerbs.Source(text).Volume, BitmapVerbs.Source(text).Name));

    [Fact]
    public async Task Every_verb_has_a_help_that_describes_each_of_its_options()
    {
        foreach (var path in Verbs(new CommandLine().Root, []))
        {
            var parsed = new CommandLine().Parse([.. path, "--help"]);
            using var output = new StringWriter();

            Assert.Equal(0, await parsed.InvokeAsync(new InvocationConfiguration { Output = output }));

            Assert.NotEmpty(parsed.CommandResult.Command.Description!);
            // Once in the usage and once in the list of arguments; a list of verbs shows them too.
            if (parsed.CommandResult.Command.Subcommands.Count == 0)
                Assert.InRange(output.ToString().Split("<VOL>").Length - 1, 0, 2);
            foreach (var option in parsed.CommandResult.Command.Options)
            {
                Assert.False(string.IsNullOrEmpty(option.Description), $"{string.Join(' ', path)} {option.Name}");
                Assert.Contains(option.Name, output.ToString(), StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [InlineData("volume lst", "did you mean list? bml volume --help")]
    [InlineData("volume list --jsn", "did you mean --json? bml volume list --help")]
    [InlineData("changed v --from start --strikt", "did you mean --strict? bml changed --help")]
    [InlineData("volume create v", "bml volume create --help shows what there is")]
    [InlineData("nonsense", "bml --help shows what there is")]
    [InlineData("bitmap", "bml bitmap --help shows what there is")]
    public async Task What_is_not_understood_is_refused_with_the_way_out(string line, string hint)
    {
        var (exitCode, error) = await RunAsync(line.Split(' '));

        Assert.Equal(ExitCode.Usage, exitCode);
        Assert.StartsWith("bml: ", error, StringComparison.Ordinal);
        Assert.Contains(hint, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bad-argument", "'1X' is no size", "volume create v --size 1X")]
    [InlineData("bad-point", "'yesterday' is no point in time", "changed v --from yesterday")]
    [InlineData("bad-point", "'b..c' is no point in time", "changed v --from start..b..c")]
    [InlineData("bad-argument", "'ten' is no number of writes", "blame v --offset 0 --limit ten")]
    [InlineData("bad-argument", "'-1' is no number of writes", "blame v --offset 0 --limit -1")]
    [InlineData("bad-argument", "'often' is no --progress", "check --progress often")]
    [InlineData("bad-argument", "'fd:9999' names no open file descriptor", "check --progress fd:9999")]
    [InlineData("bad-argument", "a map has extents, not blocks", "changed v --from start --map --format blocks")]
    [InlineData("bad-argument", "--follow has no end", "history v --follow --to now")]
    [InlineData("bad-argument", "no NAME=BACKEND", "serve --volume disk")]
    [InlineData("bad-argument", "Unrecognized", "volume list --nonsense")]
    [InlineData("busy", "is not reachable", "volume list")]
    public async Task With_json_a_failure_is_one_line_with_code_message_and_hint(string code, string message, string line)
    {
        var (exitCode, error) = await RunAsync([.. line.Split(' '), "--json", "--data-dir", "/nowhere"]);

        Assert.Equal(ExitCode.Of(code), exitCode);
        var body = Assert.Single(JsonDocument.Parse(error).RootElement.EnumerateObject(), m => m.Name == "error").Value;
        Assert.Equal(code, body.GetProperty("code").GetString());
        Assert.Contains(message, body.GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(1, error.Count(c => c == '\n'));
    }

    [Fact]
    public async Task Words_that_cannot_be_names_are_refused_before_anybody_is_asked()
    {
        var (empty, emptyError) = await RunAsync(["volume", "show", ""]);
        var (large, largeError) = await RunAsync(["volume", "show", new string('x', 100_000)]);
        var (deep, deepError) = await RunAsync(["volume", "list", "--data-dir", "/" + new string('d', 200)]);

        Assert.Equal((ExitCode.Usage, ExitCode.Usage, ExitCode.Usage), (empty, large, deep));
        Assert.Contains("'' is no name", emptyError, StringComparison.Ordinal);
        Assert.Contains("100000 bytes", largeError, StringComparison.Ordinal);
        Assert.True(largeError.Length < 300, largeError);
        Assert.Contains("take a shorter data directory", deepError, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a", "v1/volumes/a")]
    [InlineData("a/b", "v1/volumes/a%2Fb")]
    [InlineData(".", "v1/volumes/%2E")]
    [InlineData("..", "v1/volumes/%2E%2E")]
    [InlineData("a b?#%", "v1/volumes/a%20b%3F%23%25")]
    public void A_name_is_one_segment_of_a_path(string name, string path) => Assert.Equal(path, Arguments.Path("volumes", name));

    [Theory]
    [InlineData("start..now", null, "start", "now")]
    [InlineData("lsn:1", "lsn:2", "lsn:1", "lsn:2")]
    [InlineData("checkpoint:a..now", null, "checkpoint:a", "now")]
    [InlineData("-5m", null, "-5m", null)]
    [InlineData("slice:a..b/4..now", null, "slice:a..b/4", "now")]
    [InlineData("slice:a..b/4", null, "slice:a..b/4", null)]
    public void A_range_is_two_options_or_one_word(string from, string? to, string first, string? last) =>
        Assert.Equal((first, last), QueryVerbs.Range(from, to));

    [Fact]
    public void A_name_that_starts_with_an_at_sign_is_no_file_of_arguments()
    {
        var parsed = new CommandLine().Parse("bitmap", "add", "v", "@home");

        Assert.Empty(parsed.Errors);
        Assert.Equal("@home", parsed.GetValue<string>("NAME"));
    }

    private static async Task<(int ExitCode, string Error)> RunAsync(params IReadOnlyList<string> arguments)
    {
        var before = Console.Error;
        using var error = new StringWriter();
        Console.SetError(error);
        try
        {
            return (await new CommandLine().RunAsync(arguments), error.ToString());
        }
        finally
        {
            Console.SetError(before);
        }
    }

    private static IEnumerable<string[]> Verbs(Command command, string[] path)
    {
        yield return path;
        foreach (var below in command.Subcommands.SelectMany(c => Verbs(c, [.. path, c.Name])))
            yield return below;
    }
}
