using BitmapLedger.Bitmaps;
using BitmapLedger.Domain;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Indexing;

/// <summary>The size of a volume and the finest granularity of its bitmaps, followed along its commands.</summary>
internal sealed class VolumeShape
{
    private VolumeState _state = new();

    /// <summary>The last event that is in.</summary>
    public long Event { get; private set; }

    /// <summary>Size of the volume.</summary>
    public long Size => _state.Size;

    /// <summary>The finest granularity of any of its bitmaps.</summary>
    public Granularity Finest => BitTransfer.Finest(_state);

    /// <summary>Takes in a command.</summary>
    public void Apply(IVolumeEvent command, long number, DateTimeOffset time) => _state = _state.Apply(command, number, time);

    /// <summary>Every command up to an event is in.</summary>
    public void Through(long number) => Event = number;
}
