namespace BitmapLedger.Domain.Volumes;

/// <summary>What is wanted of one volume; one of a list.</summary>
/// <param name="Volume">Id of the volume; anything for <see cref="VolumeCommand.Abort"/>.</param>
/// <param name="Command">What is wanted.</param>
public sealed record VolumeAction(Guid Volume, VolumeCommand Command);

/// <summary>A volume that takes part in a transaction, and where its events will stand.</summary>
/// <param name="State">The volume before.</param>
/// <param name="AtLsn">LSN that the events stand after.</param>
/// <param name="Now">When they happen.</param>
public sealed record VolumePlace(VolumeState State, long AtLsn, DateTimeOffset Now)
{
    /// <summary>The run of the Agent that bitmaps are added in.</summary>
    public Guid Run { get; init; }

    /// <summary>Whether a block export offers the volume: its size stays.</summary>
    public bool IsExported { get; init; }

    /// <summary>Names of bitmaps that block exports show: they are in use.</summary>
    public IReadOnlyList<string> ExportedBitmaps { get; init; } = [];
}

/// <summary>What a transaction comes to for one volume.</summary>
/// <param name="Before">The volume before.</param>
/// <param name="Events">What happens, in order; none for a volume that is only read.</param>
/// <param name="After">The volume behind them.</param>
public sealed record VolumeDecision(VolumeState Before, IReadOnlyList<IVolumeEvent> Events, VolumeState After);

/// <summary>
/// What a transaction comes to: events of each volume, or the first refusal. Where foreign bitmaps are merged, bits are still
/// missing: <see cref="Foreign"/> says which, and <see cref="WithForeignBits"/> puts them in.
/// </summary>
/// <param name="Volumes">One for each place, in the same order.</param>
/// <param name="Foreign">Bits that the events lack.</param>
/// <param name="Refusal">Why nothing happens.</param>
/// <param name="Refused">Index of the action that was refused; -1 when none was.</param>
public sealed record TransactionDecision(
    IReadOnlyList<VolumeDecision> Volumes, IReadOnlyList<ForeignSource> Foreign, Refusal? Refusal, int Refused)
{
    /// <summary>The bitmaps whose bits are needed, as they are before the transaction, at its place: after every write up to
    /// the fence.</summary>
    public IReadOnlyList<BitmapRef> Needed =>
        [.. Foreign.SelectMany(f => f.From.Select(from => new BitmapRef(from.Name, f.FromVolume))).Distinct()];

    /// <summary>The same with the bits that its events lack.</summary>
    /// <param name="before">The bits of each of <see cref="Needed"/>; they stay the caller's.</param>
    public TransactionDecision WithForeignBits(Func<BitmapRef, BitmapLedger.Bitmaps.NativeBitmap> before)
    {
        var volumes = Volumes.ToDictionary(v => v.Before.Id, v => v.Events.ToList());
        foreach (var source in Foreign)
            volumes[source.Volume][source.Event] = source.Fill(volumes, before);
        return this with
        {
            Volumes = [.. Volumes.Select(v => v with { Events = volumes[v.Before.Id] })],
            Foreign = [],
        };
    }
}
