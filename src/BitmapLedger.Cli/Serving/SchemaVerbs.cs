using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;
using BitmapLedger.Contracts;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary><c>bml db …</c>: the server program knows the schema, so it does the work; nothing has to be served for
/// it.</summary>
internal static class SchemaVerbs
{
    private const string Marker = "bml-server: ";

    public static async Task<int> RunAsync(
        Session session, string verb, string? database, string? output, CancellationToken cancellation)
    {
        database ??= Environment.GetEnvironmentVariable("BITMAPLEDGER_DATABASE");
        if (database is { Length: > 0 } given)
            return await AskAsync(session, verb, given, output, cancellation);
        // What the schema is to be needs no database to be said.
        return verb == "dump"
            ? await AskAsync(session, verb, "Host=nowhere", output, cancellation)
            : await EmbeddedAsync(session, verb, output, cancellation);
    }

    /// <summary>The cluster of the data directory runs while it is served; else it does for this question only.</summary>
    private static async Task<int> EmbeddedAsync(Session session, string verb, string? output, CancellationToken cancellation)
    {
        session.Directory.Create();
        var cluster = new EmbeddedCluster(session.Directory, PostgresPrograms.Find());
        if (cluster.ProcessId is not null)
            return await AskAsync(session, verb, cluster.ConnectionString, output, cancellation);
        using var held = DataDirectoryLock.Take(session.Directory);
        await cluster.StartAsync(cancellation);
        try
        {
            return await AskAsync(session, verb, cluster.ConnectionString, output, cancellation);
        }
        finally
        {
            await cluster.StopAsync(CancellationToken.None);
        }
    }

    private static async Task<int> AskAsync(
        Session session, string verb, string database, string? output, CancellationToken cancellation)
    {
        string[] arguments =
        [
            "db", verb, "--data-dir", session.Directory.Path, "--database", database,
            .. output is null ? Array.Empty<string>() : ["--output", Path.GetFullPath(output)],
        ];
        using var server = Start(arguments);
        var said = server.StandardOutput.ReadToEndAsync(cancellation);
        var complained = server.StandardError.ReadToEndAsync(cancellation);
        await server.WaitForExitAsync(cancellation);
        if (server.ExitCode is not (ExitCode.Ok or ExitCode.No))
            throw Refused(await complained, server.ExitCode);
        Print(session, verb, await said);
        return server.ExitCode;
    }

    private static void Print(Session session, string verb, string said)
    {
        if (verb == "dump")
        {
            session.Out.Write(said);
            return;
        }

        session.Print(said.Trim(), () =>
        {
            var schema = JsonSerializer.Deserialize(said, ApiJson.Default.SchemaAnswer)!;
            var found = schema.Version == 0 ? "no schema" : $"schema version {schema.Version}";
            session.Out.WriteLine($"{found}, this program needs {schema.Expected}: {(schema.Current ? "nothing to do" : "run bml db apply")}");
        });
    }

    private static Process Start(string[] arguments)
    {
        try
        {
            return Process.Start(new ProcessStartInfo(Programs.Server, arguments)
            {
                UseShellExecute = false,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
        }
        catch (Win32Exception missing)
        {
            throw new CliException(ErrorCode.Failed, $"cannot start {Programs.Server}: {missing.Message}");
        }
    }

    private static CliException Refused(string complaint, int exitCode)
    {
        var line = complaint.Split('\n').LastOrDefault(l => l.StartsWith(Marker, StringComparison.Ordinal));
        return new(
            exitCode switch { ExitCode.Busy => ErrorCode.Busy, ExitCode.Usage => ErrorCode.BadArgument, _ => ErrorCode.Failed },
            line is null ? complaint.Trim() : line[Marker.Length..]);
    }
}
