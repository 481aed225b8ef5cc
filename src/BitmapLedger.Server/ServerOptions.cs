using System.Net;

namespace BitmapLedger.Server;

/// <summary>What the server was started with.</summary>
internal sealed record ServerOptions(
    string DataDirectory, string Database, IPEndPoint Http, string Qmp, bool OwnCluster, long JournalQuotaBytes, string? Verb,
    string? Output)
{
    private const long JournalQuotaDefault = 4L << 30;

    public const string Usage =
        "usage: bml-server --data-dir DIR --database CONN [--http HOST:PORT] [--qmp PATH] [--own-cluster] [--journal-quota BYTES]\n" +
        "       bml-server db status|apply|dump --data-dir DIR --database CONN [--output FILE]";

    /// <summary>Null with a fault that says what is wrong.</summary>
    public static ServerOptions? TryParse(string[] arguments, out string fault)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        var verb = arguments is ["db", var named, ..] ? named : null;
        fault = verb is not (null or "status" or "apply" or "dump") ? $"unknown verb 'db {verb}'" : "";
        for (var i = verb is null ? 0 : 2; i < arguments.Length && fault.Length == 0; i++)
        {
            if (arguments[i] == "--own-cluster")
                values[arguments[i]] = "";
            else if (arguments[i] is not ("--data-dir" or "--database" or "--http" or "--qmp" or "--journal-quota" or "--output"))
                fault = $"unknown option '{arguments[i]}'";
            else if (i + 1 == arguments.Length)
                fault = $"{arguments[i]} wants a value";
            else
                values[arguments[i]] = arguments[++i];
        }

        var database = values.GetValueOrDefault("--database");
        var http = values.GetValueOrDefault(
            "--http", "127.0.0.1:8440").Replace("localhost:", "127.0.0.1:", StringComparison.Ordinal);
        var quota = JournalQuotaDefault;
        IPEndPoint? address = null;
        if (fault.Length == 0 && database is null)
            fault = "--database is missing";
        if (fault.Length == 0 && !IPEndPoint.TryParse(http, out address))
            fault = $"'{http}' is no HOST:PORT; write 127.0.0.1:8440";
        if (fault.Length == 0 && !IPAddress.IsLoopback(address!.Address))
            fault = $"'{http}' is not on loopback, and beyond it HTTP needs TLS, which is not built yet; use 127.0.0.1";
        if (fault.Length == 0 && values.TryGetValue("--journal-quota", out var text) && !long.TryParse(text, out quota))
            fault = $"'{text}' is no number of bytes";
        if (fault.Length > 0)
            return null;
        var directory = Path.GetFullPath(values.GetValueOrDefault("--data-dir", "."));
        return new(
            directory, database!, address!, Path.GetFullPath(values.GetValueOrDefault("--qmp", Path.Combine(directory, "run", "qmp.sock"))),
            values.ContainsKey("--own-cluster"), quota, verb, values.GetValueOrDefault("--output"));
    }
}
