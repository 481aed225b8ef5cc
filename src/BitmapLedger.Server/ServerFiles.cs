using BitmapLedger.Contracts;
using BitmapLedger.Ledger;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace BitmapLedger.Server;

/// <summary>What the server leaves in <c>run/</c>: its socket, its token, its process id.</summary>
internal static class ServerFiles
{
    public static string Socket(string dataDirectory) => Path.Combine(dataDirectory, "run", "api.sock");

    public static string Token(string dataDirectory) => Path.Combine(dataDirectory, "run", "http.token");

    /// <summary>The socket is bound under a name of its own and moved once only its user may connect.</summary>
    public static void Listen(KestrelServerOptions kestrel, ServerOptions options)
    {
        kestrel.Limits.MaxRequestBodySize = 1 << 20;
        File.Delete(Socket(options.DataDirectory) + "~");
        kestrel.ListenUnixSocket(Socket(options.DataDirectory) + "~");
        kestrel.Listen(options.Http);
    }

    public static async Task StartAsync(WebApplication app, ServerOptions options)
    {
        var socket = Socket(options.DataDirectory);
        try
        {
            await app.StartAsync();
        }
        catch (IOException refusal)
        {
            throw new LedgerException(
                ErrorCode.Failed, $"Cannot listen on {options.Http}: {refusal.GetBaseException().Message}",
                "choose another port with --http");
        }

        File.SetUnixFileMode(socket + "~", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Move(socket + "~", socket, overwrite: true);
        var pid = Path.Combine(options.DataDirectory, "run", "server.pid");
        await File.WriteAllTextAsync(pid + ".next", $"{Environment.ProcessId}\n");
        File.Move(pid + ".next", pid, overwrite: true);
    }

    /// <summary>Address of HTTP over TCP, with the port that the system picked.</summary>
    public static string? HttpAddress(IServiceProvider services) =>
        services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()?.Addresses
            .FirstOrDefault(a => a.StartsWith(
                "http://1", StringComparison.Ordinal) || a.StartsWith("http://[", StringComparison.Ordinal));
}
