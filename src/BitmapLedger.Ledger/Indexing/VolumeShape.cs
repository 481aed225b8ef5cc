using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;
using BitmapLedger.Ledger.Storing;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>A volume followed along its commands: what nodes have to do with. Checkpoints touch nothing and are passed
/// over.</summary>
/// <param name="state">Where it begins.</param>
internal sealed class VolumeShape(VolumeState state)
{
    /// <summary>The commands that matter, in the words of PostgreSQL.</summary>
    public const string CommandsFilter =
        $"{LedgerSchema.CommandsFilter} and type <> 'checkpoint_created' and type <> 'checkpoint_removed'";

    /// <summary>The volume behind the last event that is in.</summary>
    public VolumeState State { get; private set; } = state;

    /// <summary>Size of the volume.</summary>
    public long Size => State.Size;

    /// <summary>The finest granularity of any of its bitmaps.</summary>
    public Granularity Finest => BitTransfer.Finest(State);

    /// <summary>Takes in a command.</summary>
    public void Apply(IVolumeEvent command, long number, DateTimeOffset time)
    {
        if (command is not (CheckpointCreated or CheckpointRemoved))
            State = State.Apply(command, number, time);
    }

    /// <summary>Every command up to an event is in.</summary>
    public void Through(long number) => State = State with { Event = number };
}
