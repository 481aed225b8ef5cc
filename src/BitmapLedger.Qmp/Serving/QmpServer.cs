using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using BitmapLedger.Qmp.Json;

namespace BitmapLedger.Qmp.Serving;

/// <summary>Serves any number of clients with the same commands, and tells all of them of events. Any number of
/// threads.</summary>
/// <param name="commands">What can be done, beside the negotiation, <c>query-version</c> and <c>query-commands</c>.</param>
/// <param name="settings">What it says of itself.</param>
public sealed class QmpServer(IReadOnlyList<QmpCommand> commands, QmpSettings settings)
{
    /// <summary>Long enough for a file to be closed, or a buffer to be free, and short enough for a person who connects.</summary>
    private static readonly TimeSpan _acceptPause = TimeSpan.FromMilliseconds(200);

    private readonly IReadOnlyDictionary<string, QmpCommand> _commands = commands.ToDictionary(c => c.Name, StringComparer.Ordinal);
    private readonly ConcurrentDictionary<QmpConnection, bool> _connections = [];

    /// <summary>Serves one client to its end; the stream is closed then.</summary>
    /// <param name="stream">Both ways.</param>
    /// <param name="cancellation">Ends it; a command under way is told.</param>
    public async Task ServeAsync(Stream stream, CancellationToken cancellation)
    {
        await using var _ = stream;
        var connection = new QmpConnection(stream, new(_commands, settings), settings.Budget);
        _connections[connection] = true;
        try
        {
            await connection.RunAsync(cancellation);
        }
        finally
        {
            _connections.TryRemove(connection, out bool _);
        }
    }

    /// <summary>Accepts clients and serves each, until told to end; then all of them have ended.</summary>
    /// <param name="listener">Bound and listening; closed at the end.</param>
    /// <param name="cancellation">Tells it to end.</param>
    public async Task AcceptAsync(Socket listener, CancellationToken cancellation)
    {
        using var closing = listener;
        ConcurrentDictionary<Task, bool> clients = [];
        try
        {
            while (true)
            {
                var client = await AcceptOneAsync(listener, cancellation);
                if (client is null)
                    continue;
                var serving = ServeAsync(new NetworkStream(client, ownsSocket: true), cancellation);
                clients[serving] = true;
                _ = serving.ContinueWith(
                    done => clients.TryRemove(done, out var _), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            }
        }
        catch (Exception end) when (end is OperationCanceledException or ObjectDisposedException)
        {
            await Task.WhenAll(clients.Keys);
        }
    }

    /// <summary>Tells every client that has negotiated. Does not wait for any of them.</summary>
    /// <param name="name">Name of the event.</param>
    /// <param name="data">What of, or null.</param>
    public void Publish(string name, JsonObject? data)
    {
        var text = WireText.Write(new QmpEvent(name, data, settings.Clock.GetUtcNow()).ToMessage());
        foreach (var connection in _connections.Keys)
            connection.Tell(text);
    }

    private async Task<Socket?> AcceptOneAsync(Socket listener, CancellationToken cancellation)
    {
        try
        {
            return await listener.AcceptAsync(cancellation);
        }
        catch (SocketException aborted) when (aborted.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
        {
            // It went away between connecting and being accepted.
            return null;
        }
        catch (SocketException refused)
        {
            // No file or no memory is left for it, which may be over as soon as another client goes.
            settings.OnNotAccepted(refused);
            await Task.Delay(_acceptPause, settings.Clock, cancellation);
            return null;
        }
    }
}
