using System.Diagnostics;
using System.Text;

namespace BitmapLedger.Hosting;

/// <summary>
/// A PostgreSQL cluster of our own in the data directory: reached over a private unix socket, without TCP, gone when
/// the
/// directory goes. It outlives whoever started it and is found again by its pid file.
/// </summary>
/// <param name="directory">The data directory.</param>
/// <param name="programs">The installed PostgreSQL.</param>
public sealed class EmbeddedCluster(DataDirectory directory, PostgresPrograms programs)
{
    /// <summary>A file in the cluster's own directory: all of it was made.</summary>
    private const string ReadyMark = "bitmapledger.ready";

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private static readonly TimeSpan _startLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan _pause = TimeSpan.FromMilliseconds(100);

    private string Data => Path.Combine(directory.Postgres, "data");

    private string Socket => Path.Combine(directory.Postgres, "run");

    /// <summary>Where it says what happens to it.</summary>
    public string LogFile => Path.Combine(directory.Postgres, "postgres.log");

    private string PostmasterPid => Path.Combine(Data, "postmaster.pid");

    /// <summary>How Npgsql reaches it.</summary>
    public string ConnectionString => $"Host={Socket};Username=postgres;Database=bitmapledger";

    /// <summary>Its process id; null when it is down.</summary>
    public int? ProcessId => Hosting.ProcessId.Living(PostmasterPid, Data);

    /// <summary>Starts it, making it first if it is not there; one that runs already stays as it is.</summary>
    /// <exception cref="HostingException">PostgreSQL refused.</exception>
    public async Task StartAsync(CancellationToken cancellation)
    {
        var isNew = !File.Exists(Path.Combine(Data, ReadyMark));
        if (isNew)
            await CreateAsync(cancellation);
        if (ProcessId is null)
        {
            await StartServerAsync(cancellation);
        }

        if (isNew)
        {
            await programs.RunAsync("createdb", ["-h", Socket, "-U", "postgres", "bitmapledger"], cancellation);
            var ready = Path.Combine(Data, ReadyMark);
            await File.WriteAllTextAsync(ready, "", cancellation);
            // Without the mark all of it would be made anew: it must be on the disk before anything that matters is.
            await RunAsync("sync", [ready, Data, directory.Postgres, directory.Path], cancellation);
        }

        await File.WriteAllTextAsync(directory.PidFile("postgres"), $"{ProcessId}\n", cancellation);
    }

    /// <summary>Stops it in order: running transactions are rolled back, nothing that was acknowledged is
    /// lost.</summary>
    public async Task StopAsync(CancellationToken cancellation)
    {
        if (ProcessId is not { } id)
            return;
        await programs.RunAsync("pg_ctl", ["stop", "-w", "-t", "60", "-s", "-m", "fast", "-D", Data], cancellation);
        // The file that pg_ctl looks at goes a moment before the process does.
        while (Hosting.ProcessId.IsAlive(id))
            await Task.Delay(_pause, cancellation);
    }

    /// <summary>
    /// Backends of a killed cluster take a moment to notice, and until then PostgreSQL rightly refuses to start
    /// beside them.
    /// Its pid file is how it knows, so nobody else removes that.
    /// </summary>
    private async Task StartServerAsync(CancellationToken cancellation)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                // Not to be given up half-way: what has been started must be there to be stopped.
                await programs.RunAsync(
                    "pg_ctl", ["start", "-w", "-t", "60", "-s", "-D", Data, "-l", LogFile, "-o", $"-k {Socket}"],
                    CancellationToken.None);
                return;
            }
            catch (HostingException failure)
            {
                if (Stopwatch.GetElapsedTime(started) > _startLimit)
                    throw new HostingException(
                        "failed", $"PostgreSQL does not start: {failure.Message}; {LogFile} says why", failure);
            }

            await Task.Delay(_pause, cancellation);
        }
    }

    private async Task CreateAsync(CancellationToken cancellation)
    {
        if (Directory.Exists(directory.Postgres))
            Directory.Delete(directory.Postgres, recursive: true);
        Directory.CreateDirectory(directory.Postgres, Private);
        Directory.CreateDirectory(Socket, Private);
        var template = await TemplateAsync(cancellation);
        await RunAsync("cp", ["-a", template, Data], cancellation);
        await PostgresPrograms.HandOverAsync(directory.Postgres, cancellation);
        await MakeDurableAsync(Data, cancellation);
    }

    /// <summary>PostgreSQL makes durable what it writes, and takes what was there before it for durable.</summary>
    private Task MakeDurableAsync(string cluster, CancellationToken cancellation) =>
        programs.RunAsync("initdb", ["--sync-only", "-D", cluster], cancellation);

    /// <summary>A fresh cluster of this version and these settings, made once for every data directory.</summary>
    private async Task<string> TemplateAsync(CancellationToken cancellation)
    {
        var settings = Settings();
        var key = Convert.ToHexStringLower(
            System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(settings)))[..12];
        var cache = Path.Combine(
            Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
                ? xdg
                : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
            "bitmapledger");
        var template = Path.Combine(cache, $"cluster-{programs.Version}-{key}");
        if (Directory.Exists(template))
            return template;

        Directory.CreateDirectory(cache, Private);
        var making = $"{template}.{Environment.ProcessId}";
        Directory.CreateDirectory(making, Private);
        await PostgresPrograms.HandOverAsync(making, cancellation);
        await programs.RunAsync(
            "initdb", ["-D", making, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"], cancellation);
        await File.AppendAllTextAsync(Path.Combine(making, "postgresql.conf"), settings, cancellation);
        await MakeDurableAsync(making, cancellation);
        try
        {
            Directory.Move(making, template);
        }
        catch (IOException) when (Directory.Exists(template))
        {
            // Somebody else was first; theirs is the same.
            Directory.Delete(making, recursive: true);
        }

        return template;
    }

    private static string Settings()
    {
        using var resource = new StreamReader(
            typeof(EmbeddedCluster).Assembly.GetManifestResourceStream("embedded.conf")!);
        return resource.ReadToEnd();
    }

    private static async Task RunAsync(string program, IReadOnlyList<string> arguments, CancellationToken cancellation)
    {
        using var running = Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false })!;
        await running.WaitForExitAsync(cancellation);
        if (running.ExitCode != 0)
            throw new HostingException("failed", $"'{program} {string.Join(' ', arguments)}' ended with {running.ExitCode}");
    }
}
