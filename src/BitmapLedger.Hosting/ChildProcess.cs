using System.Diagnostics;

namespace BitmapLedger.Hosting;

/// <summary>
/// A child that outlives its parent: in a session of its own, its output in a file. It may also be one that an earlier
/// parent started.
/// </summary>
public sealed class ChildProcess
{
    /// <summary>More than a line is ever long.</summary>
    private const int TailBytes = 4096;

    private static readonly TimeSpan _look = TimeSpan.FromMilliseconds(25);
    private readonly Process? _process;

    private ChildProcess(string name, int id, Process? process, string log)
    {
        Name = name;
        Id = id;
        _process = process;
        LogFile = log;
    }

    /// <summary>What it is called in logs.</summary>
    public string Name { get; }

    /// <summary>Its process id.</summary>
    public int Id { get; }

    /// <summary>Where its output goes.</summary>
    public string LogFile { get; }

    /// <summary>True while it runs.</summary>
    public bool IsAlive => _process is null ? ProcessId.IsAlive(Id) : !_process.HasExited;

    /// <summary>Its exit code, if it has ended and was started here.</summary>
    public int? ExitCode => _process is { HasExited: true } ? _process.ExitCode : null;

    /// <summary>Starts a program. Its pid file is there before it runs, so that whoever comes after a killed parent
    /// finds it however young it is.</summary>
    /// <exception cref="HostingException">It cannot be started.</exception>
    public static ChildProcess Start(
        string name, DataDirectory directory, string program, IEnumerable<string> arguments)
    {
        // setsid: a Ctrl-C at the parent's terminal is the parent's to handle. The shell only writes the pid file and
        // points the output at the log.
        const string shell = """
            echo $$ >"$1.next" && mv "$1.next" "$1" && shift && exec "$@" >>"$0" 2>&1 </dev/null
            """;
        var start = new ProcessStartInfo(
            "setsid",
            ["sh", "-c", shell, directory.LogFile(name), directory.PidFile(name), program, .. arguments])
        {
            UseShellExecute = false,
            WorkingDirectory = "/",
        };
        // What a service manager gave to the parent is the parent's.
        foreach (var variable in new[] { "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES" })
            start.Environment.Remove(variable);
        try
        {
            var process = Process.Start(start)!;
            return new(name, process.Id, process, directory.LogFile(name));
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            throw new HostingException("failed", $"Cannot start {program}: {missing.Message}", missing);
        }
    }

    /// <summary>Takes over a living child that an earlier parent started; null when there is none.</summary>
    public static ChildProcess? Adopt(string name, DataDirectory directory, string program) =>
        ProcessId.Living(directory.PidFile(name), program, $"\0{directory.Path}\0") is { } id
            ? new(name, id, null, directory.LogFile(name)) : null;

    /// <summary>What it said last; empty when it said nothing that can be read.</summary>
    public string LastLine()
    {
        try
        {
            using var log = new FileStream(LogFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            log.Seek(-Math.Min(log.Length, TailBytes), SeekOrigin.End);
            using var reader = new StreamReader(log);
            return reader.ReadToEnd().Split('\n').LastOrDefault(l => l.Trim().Length > 0)?.Trim() ?? "";
        }
        catch (IOException)
        {
            return "";
        }
    }

    /// <summary>Waits until it has ended.</summary>
    public async Task EndedAsync(CancellationToken cancellation)
    {
        if (_process is not null)
        {
            await _process.WaitForExitAsync(cancellation);
            return;
        }

        while (IsAlive)
            await Task.Delay(_look, cancellation);
    }

    /// <summary>Asks it to end, and ends it if it does not within the limit.</summary>
    public async Task StopAsync(TimeSpan limit)
    {
        if (!IsAlive)
            return;
        ProcessId.Terminate(Id);
        using var late = new CancellationTokenSource(limit);
        try
        {
            await EndedAsync(late.Token);
        }
        catch (OperationCanceledException)
        {
            ProcessId.Kill(Id);
        }
    }
}
