using System.Text.Json.Serialization;

namespace BitmapLedger.Domain;

/// <summary>A bitmap was added, empty.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Granularity">Bytes a bit.</param>
/// <param name="Disabled">Whether it starts without recording.</param>
/// <param name="Persistent">Whether it outlives the Agent.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapAdded(
    string Name, long Granularity, bool Disabled, bool Persistent, long AtLsn) : ICommandEvent
{
    /// <summary>The run of the Agent in which it was added: one that is transient ends with it. Empty where nobody said.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public Guid Run { get; init; }
}

/// <summary>A bitmap went.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Cause"><c>command</c>, or <c>transient</c> when it ended with the Agent.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapRemoved(string Name, string Cause, long AtLsn) : ICommandEvent;

/// <summary>A bitmap was emptied.</summary>
/// <param name="Name">Its name.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapCleared(string Name, long AtLsn) : ICommandEvent;

/// <summary>A bitmap records from here on.</summary>
/// <param name="Name">Its name.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapEnabled(string Name, long AtLsn) : ICommandEvent;

/// <summary>A bitmap records no more.</summary>
/// <param name="Name">Its name.</param>
/// <param name="AtLsn">LSN it stands after.</param>
public sealed record BitmapDisabled(string Name, long AtLsn) : ICommandEvent;
