using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace BitmapLedger.Architecture.Tests;

/// <summary>The files of the repository as git would commit them: tracked, and new ones that are not ignored.</summary>
internal static class SourceTree
{
    private static readonly Lazy<string[]> _files = new(List);

    public static string Root { get; } = FindRoot();

    /// <summary>Paths relative to <see cref="Root"/>, forward slashes.</summary>
    public static IReadOnlyList<string> Files => _files.Value;

    public static IEnumerable<string> CSharp => Files.Where(f => f.EndsWith(".cs", StringComparison.Ordinal));

    /// <summary>C# that people write: what a tool generates and a test regenerates is not held to lengths.</summary>
    public static IEnumerable<string> WrittenCSharp =>
        CSharp.Where(f => !f.Contains("/Internal/Generated/", StringComparison.Ordinal));

    public static string Read(string file) => File.ReadAllText(Path.Combine(Root, file));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        var directory = new FileInfo(here).Directory;
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "BitmapLedger.sln")))
            directory = directory.Parent;
        return directory?.FullName ?? throw new DirectoryNotFoundException($"No BitmapLedger.sln above {here}.");
    }

    private static string[] List()
    {
        using var git = Process.Start(new ProcessStartInfo("git", "ls-files --cached --others --exclude-standard")
        {
            WorkingDirectory = Root,
            UseShellExecute = false,
            RedirectStandardOutput = true,
        })!;
        var output = git.StandardOutput.ReadToEnd();
        git.WaitForExit();
        if (git.ExitCode != 0)
            throw new InvalidOperationException($"git ls-files in {Root} ended with {git.ExitCode}.");
        return [.. output.Split(
            '\n', StringSplitOptions.RemoveEmptyEntries).Where(f => File.Exists(Path.Combine(Root, f)))];
    }
}
