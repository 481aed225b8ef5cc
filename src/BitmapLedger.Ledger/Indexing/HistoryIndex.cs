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

    /// <summary>A look at the history of a volume. What is read through it is as of one instant, whatever is appended,
    /// projected or rebuilt meanwhile.</summary>
    /// <returns>The caller disposes it.</returns>
    public async Task<HistorySnapshot> LookAsync(Guid volumeId, CancellationToken cancellation)
    {
        var connection = await source.OpenConnectionAsync(cancellation);
        try
        {
            var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellation);
            return new(connection, transaction, serializer, Reads, volumeId);
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }
}
