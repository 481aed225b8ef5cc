using System.Diagnostics;

namespace BitmapLedger.Architecture.Tests;

/// <summary>Wolverine's handler code is generated ahead and committed: the server starts without a compiler.</summary>
public sealed class GeneratedCodeTests
{
    private const string Generated = "src/BitmapLedger.Server/Internal/Generated/WolverineHandlers";

    /// <summary>The server as it was built: beside the test it lies without its framework.</summary>
    private static string Program => Path.Combine(
        SourceTree.Root, "src", "BitmapLedger.Server", "bin",
        Path.GetFileName(Path.GetDirectoryName(Path.GetDirectoryName(AppContext.BaseDirectory.TrimEnd('/')))!) is var folder
            && folder == "bin" ? "Release" : folder,
        "net10.0", "bml-server.dll");

    [Fact]
    public void The_committed_handler_code_is_what_the_generator_writes_today()
    {
        var directory = Directory.CreateTempSubdirectory("bml-codegen-").FullName;
        try
        {
            using var server = Process.Start(new ProcessStartInfo("dotnet", [Program, "codegen", "write"])
            {
                UseShellExecute = false,
                WorkingDirectory = directory,
                RedirectStandardOutput = true,
            })!;
            _ = server.StandardOutput.ReadToEnd();
            server.WaitForExit();
            var written = Directory.GetFiles(directory, "*.cs", SearchOption.AllDirectories).ToDictionary(f => Path.GetFileName(f), Normal);
            var committed = SourceTree.Files.Where(f => f.StartsWith(Generated, StringComparison.Ordinal))
                .ToDictionary(f => Path.GetFileName(f), f => Normal(Path.Combine(SourceTree.Root, f)));

            Assert.Equal(0, server.ExitCode);
            Assert.NotEmpty(written);
            Assert.Equal(committed.Keys.Order(), written.Keys.Order());
            Assert.All(written, w => Assert.Equal(committed[w.Key], w.Value));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Normal(string file) => File.ReadAllText(file).ReplaceLineEndings("\n").TrimEnd();
}
