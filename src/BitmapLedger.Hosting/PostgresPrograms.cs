using System.Diagnostics;

namespace BitmapLedger.Hosting;

/// <summary>The installed PostgreSQL: its programs refuse root, so as root they run as the account
/// <c>postgres</c>.</summary>
public sealed class PostgresPrograms
{
    private const string Account = "postgres";

    /// <summary>Lets the account reach a cluster below a directory that only root may enter.</summary>
    private static readonly string[] _asAccount =
    [
        "setpriv", $"--reuid={Account}", $"--regid={Account}", "--clear-groups",
        "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
    ];

    private readonly string _directory;

    private PostgresPrograms(string directory) => _directory = directory;

    private static bool IsRoot => Environment.UserName == "root";

    /// <summary>Finds the newest version that is installed.</summary>
    /// <exception cref="HostingException">There is none.</exception>
    public static PostgresPrograms Find()
    {
        var debian = Directory.Exists("/usr/lib/postgresql") ? Directory.GetDirectories("/usr/lib/postgresql") : [];
        var found = debian.Select(d => Path.Combine(d, "bin")).Where(d => File.Exists(Path.Combine(d, "initdb")))
            .OrderByDescending(
                d => double.TryParse(Path.GetFileName(Path.GetDirectoryName(d)), out var version) ? version : 0)
            .Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(
                ':').Where(d => File.Exists(Path.Combine(d, "initdb"))))
            .FirstOrDefault();
        return found is not null
            ? new(found)
            : throw new HostingException(
                "failed", "PostgreSQL is not installed; install the package postgresql, or name a database with --database");
    }

    /// <summary>Version directory, for telling templates apart.</summary>
    public string Version => Path.GetFileName(Path.GetDirectoryName(_directory)) ?? "path";

    /// <summary>Runs a program to its end.</summary>
    /// <exception cref="HostingException">It failed; the message holds what it said.</exception>
    public async Task RunAsync(string program, IEnumerable<string> arguments, CancellationToken cancellation)
    {
        string[] line = [.. IsRoot ? _asAccount : [], Path.Combine(_directory, program), .. arguments];
        var start = new ProcessStartInfo(line[0], line[1..])
        {
            UseShellExecute = false,
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            WorkingDirectory = "/",
        };
        using var process = Process.Start(start) ?? throw new HostingException("failed", $"Cannot start {line[0]}");
        var output = process.StandardOutput.ReadToEndAsync(cancellation);
        var error = process.StandardError.ReadToEndAsync(cancellation);
        await process.WaitForExitAsync(cancellation);
        if (process.ExitCode != 0)
            throw new HostingException(
                "failed", $"{program} failed: {(await error).Trim()} {(await output).Trim()}".TrimEnd());
    }

    /// <summary>Gives a tree to the account that the programs run as.</summary>
    public static async Task HandOverAsync(string path, CancellationToken cancellation)
    {
        if (!IsRoot)
            return;
        using var chown = Process.Start(
            new ProcessStartInfo("chown", ["-R", $"{Account}:{Account}", path]) { UseShellExecute = false })!;
        await chown.WaitForExitAsync(cancellation);
    }
}
