namespace BitmapLedger.Domain.Volumes;

/// <summary>Either the events to append, perhaps none, or the reason why not. Never both.</summary>
/// <param name="Events">What happens, in order.</param>
/// <param name="After">The state behind them.</param>
/// <param name="Refusal">Why nothing happens.</param>
public sealed record Decision(IReadOnlyList<IVolumeEvent> Events, VolumeState After, Refusal? Refusal);
