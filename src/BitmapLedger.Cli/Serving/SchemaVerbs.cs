using System.Diagnostics;
using BitmapLedger.Contracts;
using BitmapLedger.Hosting;

namespace BitmapLedger.Cli.Serving;

/// <summary><c>bml db …</c>: the server program knows the schema, so it does the work; nothing has to be served for
/// it.</summary>
internal static class SchemaVerbs
{
    public static async Task<int> RunAsync(
        Session session, string verb, string? database, string? output, CancellationToken cancellation)
    {
        database ??= Environment.GetEnvironmentVariable("BITMAPLEDGER_DATABASE");
        database = database is { Length: > 0 } given ? given : await EmbeddedAsync(session, verb, cancellation);
        string[] arguments =
        [
            "db", verb, "--data-dir", session.Directory.Path, "--database", database,
            .. output is null ? Array.Empty<string>() : ["--output", Path.GetFullPath(output)],
        ];
        using var server = Process.Start(new ProcessStartInfo(Programs.Server, arguments) { UseShellExecute = false })
            ?? throw new CliException(ErrorCode.Failed, $"cannot start {Programs.Server}");
        await server.WaitForExitAsync(cancellation);
        return server.ExitCode;
    }

    private static async Task<string> EmbeddedAsync(Session session, string verb, CancellationToken cancellation)
    {
        // What the schema is to be needs no database to be said.
        if (verb == "dump")
            return "Host=nowhere";
        session.Directory.Create();
        var cluster = new EmbeddedCluster(session.Directory, PostgresPrograms.Find());
        await cluster.StartAsync(cancellation);
        return cluster.ConnectionString;
    }
}
