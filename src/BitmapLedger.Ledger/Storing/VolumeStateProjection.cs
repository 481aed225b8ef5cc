using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;
using JasperFx.Events;
using Marten.Events.Aggregation;

namespace BitmapLedger.Ledger.Storing;

/// <summary>Keeps the decision state of each volume beside its stream, in the transaction that appends.</summary>
public sealed partial class VolumeStateProjection : SingleStreamProjection<VolumeState, Guid>
{
    /// <inheritdoc />
    public override VolumeState? Evolve(VolumeState? snapshot, Guid id, IEvent e) => e.Data is IVolumeEvent happened
        ? (snapshot ?? new VolumeState { Id = id }).Apply(happened, e.Version, e.Timestamp)
        : snapshot;
}
