namespace BitmapLedger.Domain;

/// <summary>A place in the history got a name.</summary>
/// <param name="Name">The name.</param>
/// <param name="Volumes">All volumes that got it at one instant each, by name.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record CheckpointCreated(string Name, IReadOnlyList<string> Volumes, long AtLsn) : ICommandEvent;

/// <summary>A name of a place went. No bit is lost: the interval before it joins its neighbour.</summary>
/// <param name="Name">The name.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record CheckpointRemoved(string Name, long AtLsn) : ICommandEvent;
