using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using BitmapLedger.Contracts;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary><c>bml demo</c>: a tour on a scratch data directory, with a real NBD client and a real kill.</summary>
internal static class DemoVerb
{
    public static Command Build()
    {
        var keep = Arguments.Flag("--keep", "Leaves it running");
        var verb = new Command(
            "demo", "A tour: writes, a checkpoint, a kill -9, what the ledger knows afterwards, slices") { keep };
        verb.SetAction((parsed, cancellation) => new Tour(parsed.GetValue(keep), cancellation).RunAsync());
        return verb;
    }

    private sealed class Tour(bool keep, CancellationToken cancellation)
    {
        private static readonly string _self = Environment.ProcessPath ?? "bml";
        private readonly DataDirectory _directory = DataDirectory.At(
            Directory.CreateTempSubdirectory("bml-demo-").FullName);

        private string Disk => $"nbd+unix:///disk?socket={_directory.NbdSocket}";

        public async Task<int> RunAsync()
        {
            Say($"A ledger of its own in {_directory.Path}: PostgreSQL, the agent that serves NBD, and the server.");
            using var serve = await ServeAsync();
            try
            {
                await TourAsync();
                if (keep)
                    Say($"It goes on. Try: bml --data-dir {_directory.Path} volume list; end it with: kill {serve.Id}");
                return ExitCode.Ok;
            }
            finally
            {
                if (!keep)
                    await EndAsync(serve);
            }
        }

        private async Task TourAsync()
        {
            await Bml("volume", "create", "disk", "--size", "256M");
            await Bml("bitmap", "add", "disk", "b0");
            Say("A client writes, then we name this instant, and it writes more.");
            await Run("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", "-c", "write -P 2 100M 64k", Disk);
            await Bml("checkpoint", "create", "disk", "monday");
            await Run("qemu-io", "-f", "raw", "-c", "write -P 3 100M 4k", "-c", "discard 50M 1M", Disk);
            Say("Now the agent is killed while a client writes. QEMU would call its bitmap inconsistent from here on.");
            await KillWhileWritingAsync();
            Say("bml serve has started it again. What does the ledger know?");
            await Bml("history", "disk");
            await Bml("blame", "disk", "--offset", "100M", "--length", "4k");
            await Bml("changed", "disk", "--from", "checkpoint:monday", "--totals");
            await Bml("replay", "disk", "--at", "checkpoint:monday");
            await Run("nbdinfo", "--map=qemu:dirty-bitmap:b0", "--totals", Disk);
            Say("Live bits, projected bits and bits replayed from the events, by digest:");
            await Bml("verify", "disk");
            Say("A bitmap can keep its past in slices, so that any backup can be made again. Banking empties it at one instant.");
            await Bml("retention", "set", "disk", "b0", "--slices", "7", "--overflow", "cycle");
            await Bml("slice", "bank", "disk", "b0");
            await Run("qemu-io", "-f", "raw", "-c", "write -P 4 200M 8k", Disk);
            await Bml("slice", "list", "disk", "b0");
            await Bml("changed", "disk", "--from", "slice:b0/0");
        }

        private async Task KillWhileWritingAsync()
        {
            using var writer = Start("qemu-io", ["-f", "raw", .. Enumerable.Range(
                0, 4000).SelectMany(i => new[] { "-c", $"write -q {128 + i % 100}M 64k" }), Disk], quiet: true);
            await Task.Delay(TimeSpan.FromMilliseconds(200), cancellation);
            var agent = int.Parse(File.ReadAllText(_directory.PidFile("agent")).Trim(), CultureInfo.InvariantCulture);
            Say($"$ kill -9 {agent}");
            ProcessId.Kill(agent);
            // It would go through the rest of its commands, each in vain.
            writer.Kill();
            await writer.WaitForExitAsync(cancellation);
            for (var attempt = 0; attempt < 200; attempt++)
            {
                using var probe = Start(
                    _self, ["volume", "show", "disk", "--json", "--data-dir", _directory.Path], quiet: true);
                var answer = await probe.StandardOutput.ReadToEndAsync(cancellation);
                if (answer.Contains("\"state\":\"serving\"", StringComparison.Ordinal))
                    return;
                await Task.Delay(TimeSpan.FromMilliseconds(50), cancellation);
            }

            throw new CliException(ErrorCode.Failed, "the agent did not come back", $"{_directory.Logs} says why");
        }

        private async Task<Process> ServeAsync()
        {
            var serve = Start(
                _self, ["serve", "--quiet", "--data-dir", _directory.Path, "--http", "127.0.0.1:0"], quiet: true);
            var ready = await serve.StandardOutput.ReadLineAsync(cancellation);
            if (ready is null)
                throw new CliException(
                    ErrorCode.Failed,
                    $"bml serve did not start: {await serve.StandardError.ReadToEndAsync(cancellation)}");
            Console.Out.WriteLine(ready);
            return serve;
        }

        private async Task EndAsync(Process serve)
        {
            ProcessId.Terminate(serve.Id);
            await serve.WaitForExitAsync(CancellationToken.None);
            Directory.Delete(_directory.Path, recursive: true);
            Say("Ended in order; the scratch directory is gone. Your own: bml serve --data-dir DIR");
        }

        private Task Bml(params string[] arguments)
        {
            Say($"$ bml {string.Join(' ', arguments)}");
            return Finish(Start(_self, [.. arguments, "--data-dir", _directory.Path], quiet: false));
        }

        private Task Run(string program, params string[] arguments)
        {
            Say($"$ {program} {string.Join(' ', arguments.Select(a => a.Contains(' ') ? $"'{a}'" : a))}");
            return Finish(Start(program, arguments, quiet: false));
        }

        private async Task Finish(Process process)
        {
            using (process)
            {
                await process.WaitForExitAsync(cancellation);
                if (process.ExitCode != 0)
                    throw new CliException(
                        ErrorCode.Failed, $"{process.StartInfo.FileName} ended with {process.ExitCode}");
            }
        }

        private static Process Start(string program, IEnumerable<string> arguments, bool quiet)
        {
            try
            {
                return Process.Start(new ProcessStartInfo(program, arguments)
                {
                    UseShellExecute = false,
                    RedirectStandardOutput = quiet,
                    RedirectStandardError = quiet,
                })!;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                throw new CliException(
                    ErrorCode.Failed, $"{program} is not installed", "install the packages qemu-utils and libnbd-bin");
            }
        }

        private static void Say(string text) => Console.Out.WriteLine($"\n{text}");
    }
}
