using System.Data;
using Marten;
using Npgsql;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>Looks at streams and the union tree over them.</summary>
/// <param name="source">Connections.</param>
/// <param name="serializer">Reads the events of commands.</param>
public sealed class HistoryIndex(NpgsqlDataSource source, ISerializer serializer)
{
    /// <summary>What was read through it.</summary>
    public HistoryReads Reads { get; } = new();

    /// <summary>Nodes that questions read lately.</summary>
    public KeptNodes Kept { get; } = new();

    /// <summary>A look at the history of a volume. What is read through it is as of one instant, whatever is appended,
    /// projected or rebuilt meanwhile.</summary>
    /// <returns>The caller disposes it.</returns>
    public Task<HistorySnapshot> LookAsync(Guid volumeId, CancellationToken cancellation) =>
        LookAsync(volumeId, version: null, cancellation);

    /// <summary>The same with the nodes of some version; null for the one that counts.</summary>
    internal async Task<HistorySnapshot> LookAsync(Guid volumeId, int? version, CancellationToken cancellation)
    {
        var connection = await source.OpenConnectionAsync(cancellation);
        try
        {
            var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellation);
            return new(connection, transaction, serializer, Reads, Kept, volumeId, version);
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }
}
