using System.ComponentModel;
using System.Diagnostics;

namespace BitmapLedger.Testing;

/// <summary>What a finished program left behind.</summary>
public sealed record ToolResult(string Command, int ExitCode, string Output, string Error)
{
    /// <summary>This result, or a failure that shows everything the program said.</summary>
    public ToolResult Expect(int exitCode = 0) => ExitCode == exitCode
        ? this
        : throw new InvalidOperationException($"""
            {Command}
            ended with {ExitCode}, expected {exitCode}
            --- stdout
            {Output}
            --- stderr
            {Error}
            """);
}

/// <summary>Runs a real program to its end, within a time limit.</summary>
public static class Tool
{
    /// <summary>Longer than any single command of the tests takes on two busy cores; a hang is a failure, not a
    /// wait.</summary>
    private static readonly TimeSpan _limit = TimeSpan.FromMinutes(3);

    public static ToolResult Run(string program, params IEnumerable<string> arguments) =>
        RunAsync(program, arguments).GetAwaiter().GetResult();

    public static async Task<ToolResult> RunAsync(
        string program, IEnumerable<string> arguments, string? input = null, TimeSpan? limit = null)
    {
        using var process = Start(program, arguments, input is not null);
        var command = $"{program} {string.Join(' ', process.StartInfo.ArgumentList)}";
        using var timeout = new CancellationTokenSource(limit ?? _limit);
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            if (input is not null)
            {
                await process.StandardInput.WriteAsync(input.AsMemory(), timeout.Token);
                process.StandardInput.Close();
            }

            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException late)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{command} did not end.\n{await output}\n{await error}", late);
        }

        return new(command, process.ExitCode, await output, await error);
    }

    /// <summary>Starts a program with its output piped; the caller ends it.</summary>
    public static Process Start(
        string program, IEnumerable<string> arguments, bool withInput = false,
        IEnumerable<KeyValuePair<string, string>>? variables = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = withInput,
        };
        // nbdsh takes the first python in PATH; only the system's has the module.
        start.Environment["PATH"] = "/usr/bin:/usr/sbin:/sbin:" + Environment.GetEnvironmentVariable("PATH");
        start.Environment["LC_ALL"] = "C.UTF-8";
        foreach (var (name, value) in variables ?? [])
            start.Environment[name] = value;
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception missing)
        {
            throw new FileNotFoundException($"{program} is not installed; tools/test installs it.", program, missing);
        }
    }
}
