using BitmapLedger.Bitmaps;
using BitmapLedger.Domain.Bitmaps;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Domain.Retaining;

/// <summary>The finest granularity that any bitmap of a volume had, along its history: it changes with few events.</summary>
public sealed class FinestGranularities
{
    private readonly List<(long Event, Granularity Finest)> _changes = [(0, Granularity.Default)];

    /// <summary>Takes in what a volume is behind an event; in the order of events.</summary>
    public void Add(VolumeState state)
    {
        var finest = BitTransfer.Finest(state);
        if (finest != _changes[^1].Finest)
            _changes.Add((state.Event, finest));
    }

    /// <summary>The finest that it was from one event up to and including another.</summary>
    /// <param name="firstEvent">What it was behind this counts.</param>
    /// <param name="lastEvent">What it was behind this counts.</param>
    public Granularity Between(long firstEvent, long lastEvent)
    {
        var finest = _changes.Last(c => c.Event <= firstEvent).Finest;
        foreach (var (_, changed) in _changes.Where(c => c.Event > firstEvent && c.Event <= lastEvent))
            finest = changed < finest ? changed : finest;
        return finest;
    }
}
