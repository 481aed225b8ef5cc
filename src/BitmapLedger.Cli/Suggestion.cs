using System.CommandLine;

namespace BitmapLedger.Cli;

/// <summary>The way out of a line that could not be read.</summary>
internal static class Suggestion
{
    /// <summary>More slips than this make another word.</summary>
    private const int SlipsMax = 2;

    public static string For(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        var path = string.Join(' ', Ancestry(command).Reverse());
        var known = Ancestors(command).SelectMany(c => c.Options.Where(o => o.Recursive || c == command).Select(o => o.Name))
            .Concat(command.Subcommands.Select(c => c.Name)).ToList();
        var meant = parsed.UnmatchedTokens
            .Select(word => known.Where(k => Slips(word, k) <= SlipsMax).OrderBy(k => Slips(word, k)).FirstOrDefault())
            .FirstOrDefault(k => k is not null);
        return meant is null ? $"{path} --help shows what there is" : $"did you mean {meant}? {path} --help shows what there is";
    }

    /// <summary>Letters to add, drop or change until one word is the other.</summary>
    internal static int Slips(string from, string to)
    {
        if (Math.Abs(from.Length - to.Length) > SlipsMax)
            return int.MaxValue;
        var above = Enumerable.Range(0, to.Length + 1).ToArray();
        for (var i = 1; i <= from.Length; i++)
        {
            var row = new int[to.Length + 1];
            row[0] = i;
            for (var j = 1; j <= to.Length; j++)
                row[j] = Math.Min(Math.Min(row[j - 1], above[j]) + 1, above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1));
            above = row;
        }

        return above[to.Length];
    }

    private static IEnumerable<string> Ancestry(Command command) =>
        Ancestors(command).Select(c => c is RootCommand ? "bml" : c.Name);

    private static IEnumerable<Command> Ancestors(Command command)
    {
        for (Command? c = command; c is not null; c = c.Parents.OfType<Command>().FirstOrDefault())
            yield return c;
    }
}
