using System.Net.Sockets;
using System.Text.Json.Nodes;
using BitmapLedger.Contracts;
using BitmapLedger.Ledger;
using BitmapLedger.Ledger.CarryingOut;
using BitmapLedger.Qmp.Serving;

namespace BitmapLedger.Server.Qmp;

/// <summary><c>run/qmp.sock</c>: QEMU's machine protocol. The socket's mode guards it.</summary>
internal sealed partial class QmpEndpoint(
    ServerOptions options, QmpCommands commands, QmpLedger once, Commands ledger, QmpExports exports, ILogger<QmpEndpoint> log)
    : IHostedService, IDisposable
{
    private readonly CancellationTokenSource _ending = new();
    private Task _serving = Task.CompletedTask;

    /// <summary>Binds under a name of its own, and moves the socket once only its user may connect.</summary>
    /// <exception cref="LedgerException">It cannot listen there.</exception>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        var server = new QmpServer(commands.All(), new()
        {
            Version = (7, 2, 22),
            Package = $"BitmapLedger {typeof(QmpEndpoint).Assembly.GetName().Version!.ToString(3)}",
            Once = once.OnceAsync,
            OnUnexpected = Unexpected,
            OnNotAccepted = NotAccepted,
        });
        ledger.OnDropped = (node, slices) => server.Publish(
            "SLICES_DROPPED", new JsonObject { ["node"] = node, ["dropped-slices"] = QmpLedger.Show(slices) });
        exports.OnDeleted = id => server.Publish("BLOCK_EXPORT_DELETED", new JsonObject { ["id"] = id });
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            File.Delete(options.Qmp + "~");
            listener.Bind(new UnixDomainSocketEndPoint(options.Qmp + "~"));
            File.SetUnixFileMode(options.Qmp + "~", UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen();
            File.Move(options.Qmp + "~", options.Qmp, overwrite: true);
        }
        catch (Exception refusal) when (refusal is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            listener.Dispose();
            throw new LedgerException(
                ErrorCode.Failed, $"Cannot listen on '{options.Qmp}': {refusal.Message}", "name another path with --qmp");
        }

        _serving = server.AcceptAsync(listener, _ending.Token);
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _ending.CancelAsync();
        await _serving.WaitAsync(cancellationToken);
        File.Delete(options.Qmp);
    }

    public void Dispose() => _ending.Dispose();

    [LoggerMessage(Level = LogLevel.Error, Message = "unexpected failure of QMP command {Command}")]
    private partial void Unexpected(string command, Exception failure);

    [LoggerMessage(Level = LogLevel.Warning, Message = "a QMP client could not be accepted, trying again")]
    private partial void NotAccepted(Exception failure);
}
