using BitmapLedger.Domain;
using BitmapLedger.Domain.Volumes;

namespace BitmapLedger.Ledger.Reading;

/// <summary>
/// Which bitmaps and checkpoint ranges hold the writes of an event: bitmaps that recorded when it was appended and were
/// not emptied since, and the range since each checkpoint before it.
/// </summary>
internal sealed class HeldBy(VolumeState now)
{
    private readonly Dictionary<string, List<(long From, long To)>> _recorded = new(StringComparer.Ordinal);

    public void Apply(IVolumeEvent happened, long number)
    {
        switch (happened)
        {
            case BitmapAdded e:
                _recorded[e.Name] = e.Disabled ? [] : [(number, long.MaxValue)];
                break;
            case BitmapRemoved e:
                _recorded.Remove(e.Name);
                break;
            case BitmapCleared e:
                _recorded[e.Name] = IsRecording(e.Name) ? [(number, long.MaxValue)] : [];
                break;
            case BitmapEnabled e when !IsRecording(e.Name):
                _recorded[e.Name].Add((number, long.MaxValue));
                break;
            case BitmapDisabled e when IsRecording(e.Name):
                _recorded[e.Name][^1] = _recorded[e.Name][^1] with { To = number };
                break;
        }
    }

    public IReadOnlyList<string> At(long number) =>
    [
        .. _recorded.Where(r => r.Value.Exists(i => i.From < number && number < i.To)).Select(
            r => r.Key).Order(StringComparer.Ordinal),
        .. now.Checkpoints.Where(c => c.Event < number).Select(c => $"checkpoint:{c.Name}..now"),
    ];

    private bool IsRecording(string name) => _recorded[name] is [.., (_, long.MaxValue)];
}
