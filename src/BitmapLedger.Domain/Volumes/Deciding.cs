using BitmapLedger.Domain.Bitmaps;

namespace BitmapLedger.Domain.Volumes;

/// <summary>A transaction that is being decided: what its volumes are after the actions so far.</summary>
internal sealed class Deciding(IReadOnlyList<VolumePlace> places)
{
    private readonly IReadOnlyList<DecidingVolume> _volumes = [.. places.Select(p => new DecidingVolume(p))];
    private readonly List<ForeignSource> _foreign = [];

    /// <summary>Takes in one action, or says why not.</summary>
    public Refusal? Take(VolumeAction action)
    {
        var volume = Volume(action.Volume);
        if (volume.State.Removed)
            return Refusal.NotFound($"Volume '{volume.State.Name}' was removed");
        if (VolumeDecider.Refuse(action.Command, volume, this) is { } refusal)
            return refusal;
        foreach (var happened in VolumeDecider.Happen(action.Command, volume, this))
        {
            volume.Add(happened);
            if (happened is BitmapMerged merged)
                Lack(volume, merged, (VolumeCommand.MergeBitmap)action.Command);
        }

        return null;
    }

    public DecidingVolume Volume(Guid id) => _volumes.FirstOrDefault(v => v.State.Id == id)
        ?? throw new KeyNotFoundException($"Volume {id} has no place in this transaction.");

    public TransactionDecision Decision() => new(
        [.. _volumes.Select(v => new VolumeDecision(v.Place.State, v.Events, v.State))], _foreign, Refusal: null, Refused: -1);

    /// <summary>Notes which bits of other volumes an event lacks.</summary>
    private void Lack(DecidingVolume volume, BitmapMerged merged, VolumeCommand.MergeBitmap command)
    {
        foreach (var (source, index) in merged.Sources.Select((s, i) => (s, i)).Where(s => s.s.Volume is not null))
        {
            var from = Volume(command.Sources[index].Volume!.Value);
            var bitmap = from.Earlier.State.Bitmap(source.Name)!;
            _foreign.Add(new(
                volume.State.Id, volume.Events.Count - 1, index, from.State.Id, from.State.Size, bitmap.Granularity,
                [.. bitmap.Bits.Terms.Where(t => t.Origin is BitOrigin.Earlier).Select(
                    t => new BitFlow(from.Earlier.Name((BitOrigin.Earlier)t.Origin), t.Path))],
                [.. from.Given(bitmap.Bits)]));
        }
    }
}

/// <summary>A volume of a transaction that is being decided.</summary>
internal sealed class DecidingVolume(VolumePlace place)
{
    private readonly List<IVolumeEvent> _events = [];
    private readonly Dictionary<string, BitmapState> _leaving = new(StringComparer.Ordinal);

    public VolumePlace Place { get; } = place;

    /// <summary>The volume after the actions so far.</summary>
    public VolumeState State { get; private set; } = place.State;

    /// <summary>The same, its bits said in those from before the transaction.</summary>
    public EarlierBits Earlier { get; private set; } = EarlierBits.Of(place.State);

    public IReadOnlyList<IVolumeEvent> Events => _events;

    /// <summary>The bitmap of a name; one that an earlier action removed is there until the transaction ends.</summary>
    public BitmapState? Bitmap(string name) => State.Bitmap(name) ?? _leaving.GetValueOrDefault(name);

    /// <summary>Whether jobs, an export, or an action before keep it from being used.</summary>
    public bool IsBusy(BitmapState bitmap) => bitmap.Busy || _leaving.ContainsKey(bitmap.Name) || IsShown(bitmap);

    /// <summary>Whether a block export shows it.</summary>
    public bool IsShown(BitmapState bitmap) => Place.ExportedBitmaps.Contains(bitmap.Name, StringComparer.Ordinal);

    public void Add(IVolumeEvent happened)
    {
        if (happened is BitmapRemoved { Cause: Causes.Command } removed)
            _leaving[removed.Name] = State.Bitmap(removed.Name)!;
        _events.Add(happened);
        State = State.Apply(happened, State.Event + 1, Place.Now);
        Earlier = Earlier.Apply(happened);
    }

    /// <summary>The terms that events of this transaction give.</summary>
    public IEnumerable<(int Event, int Source, BitPath Path)> Given(BitExpression bits) => bits.Terms
        .Where(t => t.Origin is BitOrigin.Given).Select(t => (
            (int)(((BitOrigin.Given)t.Origin).Event - Place.State.Event - 1), ((BitOrigin.Given)t.Origin).Index, t.Path));
}
