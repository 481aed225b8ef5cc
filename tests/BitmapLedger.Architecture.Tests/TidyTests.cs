using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace BitmapLedger.Architecture.Tests;

/// <summary>House rules that a reviewer should not have to say.</summary>
public sealed partial class TidyTests
{
    private const int LinesPerFileMax = 400;
    private const int LinesPerMethodMax = 70;
    /// <summary>The aim is 120 (.editorconfig); a line over this is two thoughts.</summary>
    private const int ColumnsMax = 160;

    private static readonly string[] _topLevel =
    [
        "BitmapLedger.sln", "src", "tests", "db", "tools", "README.md", "docker-compose.yml",
        "Directory.Build.props", "Directory.Packages.props", "global.json", "BannedSymbols.txt",
    ];

    [Fact]
    public void The_top_level_is_the_fixed_one()
    {
        var entries = SourceTree.Files.Select(f => f.Split('/')[0]).Distinct();

        Assert.DoesNotContain(entries, e => e[0] != '.' && !_topLevel.Contains(e));
    }

    [Theory]
    [InlineData("src")]
    [InlineData("tests")]
    [InlineData("tools")]
    [InlineData("db")]
    public void Each_main_folder_says_what_lives_there_and_what_must_not(string folder)
    {
        Assert.Contains("must not", SourceTree.Read($"{folder}/README.md"), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void No_file_is_longer_than_400_lines_and_no_line_than_160_columns()
    {
        var long_ = from file in SourceTree.WrittenCSharp
                    let lines = SourceTree.Read(file).Split('\n')
                    from complaint in Complaints(file, lines)
                    select complaint;

        Assert.Empty(long_);
    }

    [Fact]
    public void No_method_is_longer_than_70_lines()
    {
        var long_ = from file in SourceTree.WrittenCSharp
                    let tree = CSharpSyntaxTree.ParseText(SourceTree.Read(file), path: file)
                    from body in tree.GetRoot().DescendantNodes().Where(IsBody)
                    let span = tree.GetLineSpan(body.Span)
                    let lines = span.EndLinePosition.Line - span.StartLinePosition.Line + 1
                    where lines > LinesPerMethodMax
                    select $"{file}:{span.StartLinePosition.Line + 1}: {lines} lines";

        Assert.Empty(long_);
    }

    [Fact]
    public void No_word_stands_for_work_left_undone_or_a_thought_not_finished()
    {
        var found = from file in SourceTree.WrittenCSharp
                    where !file.EndsWith(nameof(TidyTests) + ".cs", StringComparison.Ordinal)
                    from match in BannedWords().Matches(SourceTree.Read(file))
                    select $"{file}: {match.Value}";

        Assert.Empty(found);
    }

    [Fact]
    public void No_host_of_a_registry_and_no_path_of_a_machine_stands_in_the_repository()
    {
        var found = from file in SourceTree.Files
                    where !file.EndsWith(nameof(TidyTests) + ".cs", StringComparison.Ordinal)
                    from match in MachineTraces().Matches(SourceTree.Read(file))
                    select $"{file}: {match.Value}";

        Assert.Empty(found);
    }

    private static IEnumerable<string> Complaints(string file, string[] lines)
    {
        if (lines.Length > LinesPerFileMax + 1)
            yield return $"{file}: {lines.Length} lines";
        for (var line = 0; line < lines.Length; line++)
            if (lines[line].Length > ColumnsMax)
                yield return $"{file}:{line + 1}: {lines[line].Length} columns";
    }

    private static bool IsBody(SyntaxNode node) =>
        node is BaseMethodDeclarationSyntax or AccessorDeclarationSyntax or LocalFunctionStatementSyntax;

    [GeneratedRegex(
        @"\b(TODO|FIXME|HACK|XXX)\b|#region|NotImplementedException|\bSkip\s*=(?!\s*[\w.]+,\s*SkipUnless\b)|\bclass \w*(Helper|Manager|Utils)\b",
        RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 5_000)]
    private static partial Regex BannedWords();

    [GeneratedRegex(
        @"nuget\.org|npmjs\.org|deb\.debian\.org|pypi\.org|/work/(main|shared)|/root/|/tmp/bml/",
        RegexOptions.IgnoreCase | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 5_000)]
    private static partial Regex MachineTraces();
}
