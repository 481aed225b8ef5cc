using System.CommandLine;
using BitmapLedger.Contracts;
using BitmapLedger.Contracts.Services;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary><c>bml serve</c>.</summary>
internal static class ServeVerb
{
    /// <summary>Two segments: one that is written while the other is shipped.</summary>
    private const long QuotaLeast = 32L << 20;

    public static Command Build(GlobalOptions global)
    {
        var volumes = new Option<string[]>("--volume") { Description = "NAME=BACKEND, e.g. disk=file:/path; added if it is not there" };
        var nbd = new Option<string[]>("--nbd") { Description = "Where to listen (default a unix socket in the data directory)" };
        var qmp = Arguments.Text("--qmp", "Path of the QMP socket (default run/qmp.sock in the data directory)");
        var http = new Option<string>("--http")
        {
            Description = "HOST:PORT of HTTP; port 0 picks a free one",
            DefaultValueFactory = _ => Environment.GetEnvironmentVariable("BITMAPLEDGER_HTTP") is { Length: > 0 } address ? address : "127.0.0.1:8440",
        };
        var database = Arguments.Text("--database", "Connection string of a PostgreSQL (default: a cluster of its own)");
        var quota = Arguments.Text("--journal-quota", "Most bytes of each volume's journal, at least 32M (default 4G)");
        var external = Arguments.Flag("--external-agent", "The agent is somebody else's, e.g. systemd's: it is not started and not ended");
        var verb = new Command(
            "serve", "Runs everything; ends with SIGTERM or Ctrl-C") { volumes, nbd, qmp, http, database, quota, external };
        verb.SetAction((parsed, cancellation) => RunAsync(
            global.Open(parsed, cancellation),
            new(
                [.. (parsed.GetValue(volumes) ?? []).Select(Volume)], parsed.GetValue(nbd) ?? [], parsed.GetValue(qmp), parsed.GetValue(http)!,
                parsed.GetValue(database) ?? (Environment.GetEnvironmentVariable("BITMAPLEDGER_DATABASE") is { Length: > 0 } d ? d : null),
                Quota(parsed.GetValue(quota)), parsed.GetValue(external)),
            cancellation));
        return verb;
    }

    private static long? Quota(string? text) => Arguments.Size(text) is not ({ } bytes and < QuotaLeast)
        ? Arguments.Size(text)
        : throw new CliException(
            ErrorCode.BadArgument, $"A journal quota of {bytes} bytes is less than two segments", $"take {QuotaLeast >> 20}M or more");

    private static (string Name, string Backend) Volume(string text) => text.IndexOf('=') is var at and > 0
        ? (text[..at], text[(at + 1)..])
        : throw new CliException(ErrorCode.BadArgument, $"'{text}' is no NAME=BACKEND", "write for example disk=file:/path/to/disk.img");

    private static async Task<int> RunAsync(Session session, ServeOptions options, CancellationToken cancellation)
    {
        session.Directory.Create();
        using var held = DataDirectoryLock.Take(session.Directory);
        var service = new Service(session, options);
        using var following = new CancellationTokenSource();
        Task[] logs = [];
        try
        {
            var ready = await service.StartAsync(cancellation);
            logs = [service.AgentLog.RunAsync(session.Quiet, following.Token), service.ServerLog.RunAsync(session.Quiet, following.Token)];
            session.Out.WriteLine(
                $"ready {string.Join(' ', ready.Nbd.Select(u => $"nbd={u}"))} qmp={ready.Qmp} http={ready.Http} data-dir={session.Directory.Path}");
            ServiceNotice.Ready($"serving {session.Directory.Path}");
            await service.SuperviseAsync(cancellation);
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Told to end while starting.
        }
        finally
        {
            ServiceNotice.Stopping();
            await service.StopAsync();
            await following.CancelAsync();
            await Task.WhenAll(logs);
        }

        return ExitCode.Ok;
    }
}
