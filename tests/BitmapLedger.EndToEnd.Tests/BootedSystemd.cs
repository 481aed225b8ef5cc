using System.Diagnostics;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A systemd that was booted for one test, with our units and a view of this machine's files of its own.</summary>
internal sealed class BootedSystemd : IDisposable
{
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);
    private readonly ScratchDirectory _scratch = new();
    private readonly Process _boot;
    private int _first;

    private BootedSystemd() => _boot = Tool.Start(
        Path.Combine(Repository.Root, "tests", "BitmapLedger.EndToEnd.Tests", "boot-systemd"),
        [_scratch.Path, Repository.Programs, Path.Combine(Repository.Root, "tools", "packaging", "systemd")]);

    /// <summary>Boots it and waits until a unit is active.</summary>
    public static async Task<BootedSystemd> StartAsync(string unit)
    {
        var machine = new BootedSystemd();
        try
        {
            await machine.UntilAsync(() => machine.FindFirst() && machine.IsActive(unit));
            return machine;
        }
        catch
        {
            machine.Dispose();
            throw;
        }
    }

    /// <summary>Runs a program there, as root.</summary>
    public ToolResult Run(params IEnumerable<string> line) => Tool.Run(
        "nsenter",
        [
            $"--target={_first}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "env",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", .. line,
        ]);

    /// <summary>Runs <c>bml</c> there, as the account of the units.</summary>
    public ToolResult Bml(params IEnumerable<string> line) => Run(
        ["runuser", "-u", "bitmapledger", "--", "/opt/bitmapledger/bml", "--data-dir", "/var/lib/bitmapledger", .. line]);

    public bool IsActive(string unit) => Run("systemctl", "is-active", "--quiet", unit).ExitCode == 0;

    /// <summary>A property of a unit, as <c>systemctl show</c> has it.</summary>
    public string Show(string unit, string property) =>
        Run("systemctl", "show", "--value", "--property", property, unit).Expect().Output.Trim();

    public async Task UntilAsync(Func<bool> holds)
    {
        var started = Stopwatch.StartNew();
        while (!holds())
        {
            if (started.Elapsed > _limit || _boot.HasExited)
                throw new TimeoutException($"systemd: {Journal()}");
            await Task.Delay(50);
        }
    }

    public void Dispose()
    {
        // With unshare goes its child, process 1, and with that every process in there, and their mounts.
        if (!_boot.HasExited)
            _boot.Kill();
        _boot.WaitForExit();
        _boot.Dispose();
        var groups = Tool.Run("findmnt", "--noheadings", "--first-only", "--output", "TARGET", "--types", "cgroup2").Output.Trim();
        var group = Path.Combine(groups, $"bitmapledger-{Path.GetFileName(_scratch.Path)}");
        using var limit = new CancellationTokenSource(_limit);
        while (Directory.Exists(group) && !limit.IsCancellationRequested)
            Tool.Run("find", group, "-depth", "-type", "d", "-delete");
        _scratch.Dispose();
    }

    private string Journal() => _boot.HasExited
        ? $"ended with {_boot.ExitCode}: {_boot.StandardError.ReadToEnd()}"
        : _first > 0 ? Run("journalctl", "--no-pager").Output : "not booted";

    /// <summary>Process 1 in there, once it is systemd.</summary>
    private bool FindFirst()
    {
        try
        {
            _first = Posix.Children(_boot.Id).SingleOrDefault(
                id => File.ReadAllText($"/proc/{id}/cmdline").StartsWith("/lib/systemd/systemd", StringComparison.Ordinal));
        }
        catch (IOException)
        {
            // It has just become something else.
        }

        return _first > 0;
    }
}
