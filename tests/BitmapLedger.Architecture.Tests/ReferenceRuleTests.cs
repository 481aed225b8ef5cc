using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

namespace BitmapLedger.Architecture.Tests;

/// <summary>Dependencies point one way: the arrows of design/architecture.md §7, read from the built
/// assemblies.</summary>
public sealed class ReferenceRuleTests
{
    private static readonly Dictionary<string, string[]> _arrows = new()
    {
        ["Bitmaps"] = [],
        ["Contracts"] = [],
        ["Hosting"] = [],
        ["Qmp"] = [],
        ["Journal"] = ["Bitmaps"],
        ["Nbd"] = ["Bitmaps"],
        ["WritePath"] = ["Bitmaps", "Journal", "Nbd", "Contracts"],
        ["Agent"] = ["WritePath"],
        ["Domain"] = ["Bitmaps"],
        ["Ledger"] = ["Domain", "Journal", "Contracts"],
        ["Server"] = ["Ledger", "Contracts", "Qmp"],
        ["Cli"] = ["Contracts", "Hosting"],
    };

    /// <summary>Assembly names differ from project names where the file is a program that people type.</summary>
    private static readonly Dictionary<string, string> _programs = new()
    {
        ["Agent"] = "bml-agent",
        ["Server"] = "bml-server",
        ["Cli"] = "bml",
    };

    private static readonly string[] _controlPlaneOnly = ["Marten", "Wolverine", "Npgsql", "Microsoft.AspNetCore", "JasperFx", "Weasel"];

    /// <summary>Left of Contracts in the drawing, and Contracts: no database, no web server.</summary>
    private static readonly string[] _free = ["Bitmaps", "Journal", "Nbd", "WritePath", "Agent", "Domain", "Contracts", "Qmp", "Hosting", "Cli"];

    public static TheoryData<string> Projects => [.. _arrows.Keys];

    public static TheoryData<string> FreeProjects => [.. _free];

    [Fact]
    public void Every_project_in_src_has_its_arrows_written_down_here()
    {
        var projects = SourceTree.Files
            .Where(
                f => f.StartsWith("src/", StringComparison.Ordinal) && f.EndsWith(".csproj", StringComparison.Ordinal))
            .Select(f => Path.GetFileNameWithoutExtension(f)["BitmapLedger.".Length..]);

        Assert.Equal(_arrows.Keys.Order(), projects.Order());
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_refers_only_to_what_its_arrows_reach(string project)
    {
        var reachable = Reach(project).Select(AssemblyOf).ToHashSet();

        var ours = References(
            project).Where(r => r.StartsWith("BitmapLedger.", StringComparison.Ordinal) || _programs.ContainsValue(r));

        Assert.DoesNotContain(ours, r => !reachable.Contains(r));
    }

    [Theory]
    [MemberData(nameof(FreeProjects))]
    public void Nothing_left_of_the_ledger_knows_a_database_or_a_web_server(string project)
    {
        var forbidden = References(project)
            .Where(r => _controlPlaneOnly.Any(c => r.StartsWith(c, StringComparison.Ordinal)));

        Assert.Empty(forbidden);
    }

    [Theory]
    [InlineData("Bitmaps")]
    [InlineData("Journal")]
    [InlineData("Nbd")]
    [InlineData("WritePath")]
    [InlineData("Agent")]
    public void The_write_path_stands_on_the_base_class_library_alone(string project)
    {
        var packages = SourceTree.Read($"src/BitmapLedger.{project}/BitmapLedger.{project}.csproj");

        Assert.DoesNotContain("PackageReference", packages, StringComparison.Ordinal);
        Assert.DoesNotContain("FrameworkReference", packages, StringComparison.Ordinal);
    }

    private static HashSet<string> Reach(string project)
    {
        HashSet<string> reached = [];
        Stack<string> open = new(_arrows[project]);
        while (open.TryPop(out var next))
        {
            if (reached.Add(next))
                foreach (var further in _arrows[next])
                    open.Push(further);
        }

        return reached;
    }

    private static string AssemblyOf(string project) => _programs.GetValueOrDefault(project, "BitmapLedger." + project);

    private static string[] References(string project)
    {
        using var file = File.OpenRead(Path.Combine(AppContext.BaseDirectory, AssemblyOf(project) + ".dll"));
        using var assembly = new PEReader(file);
        var metadata = assembly.GetMetadataReader();
        return [.. metadata.AssemblyReferences.Select(r => metadata.GetString(metadata.GetAssemblyReference(r).Name))];
    }
}
