using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using JasperFx.Events;
using Marten;
using Marten.Events.Projections;

namespace BitmapLedger.Ledger.Storing;

/// <summary>A checkpoint, stored by itself: what one costs does not depend on how many there are.</summary>
public sealed record CheckpointRow
{
    /// <summary><see cref="IdOf"/>.</summary>
    public string Id { get; init; } = "";

    /// <summary>Its volume.</summary>
    public Guid VolumeId { get; init; }

    /// <summary>The checkpoint.</summary>
    public CheckpointState State { get; init; } = new("", 0, 0, default);

    /// <summary>Id of the row of a checkpoint.</summary>
    public static string IdOf(Guid volumeId, string name) => $"{volumeId:N}/{name}";

    /// <summary>The row of a checkpoint.</summary>
    public static CheckpointRow Of(Guid volumeId, CheckpointState state) =>
        new() { Id = IdOf(volumeId, state.Name), VolumeId = volumeId, State = state };
}

/// <summary>Keeps the checkpoints of each volume beside its stream, in the transaction that appends.</summary>
public sealed class CheckpointProjection : IProjection
{
    /// <inheritdoc />
    public Task ApplyAsync(IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        foreach (var e in events)
        {
            if (e.Data is CheckpointCreated created)
                operations.Store(CheckpointRow.Of(e.StreamId, new(created.Name, e.Version, created.AtLsn, e.Timestamp)));
            else if (e.Data is CheckpointRemoved removed)
                operations.Delete<CheckpointRow>(CheckpointRow.IdOf(e.StreamId, removed.Name));
        }

        return Task.CompletedTask;
    }
}
