using System.Runtime.CompilerServices;

namespace BitmapLedger.Testing;

/// <summary>Where the checkout lies that these tests were built from.</summary>
public static class Repository
{
    public static string Root { get; } = Find();

    /// <summary>The programs as a user gets them: what <c>tools/build</c> published.</summary>
    public static string Programs { get; } = Path.Combine(Root, "artifacts", "bin");

    private static string Find([CallerFilePath] string here = "")
    {
        var directory = new FileInfo(here).Directory;
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "BitmapLedger.sln")))
            directory = directory.Parent;
        return directory?.FullName ?? throw new DirectoryNotFoundException($"No BitmapLedger.sln above {here}.");
    }
}
