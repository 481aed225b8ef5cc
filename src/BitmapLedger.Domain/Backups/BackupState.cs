using System.Text.Json.Serialization;
using BitmapLedger.Domain.Queries;

namespace BitmapLedger.Domain.Volumes;

/// <summary>A backup job that runs.</summary>
/// <param name="Job">Its id.</param>
/// <param name="Sync">What it copies, as in <see cref="BackupStarted"/>.</param>
/// <param name="Mode">What becomes of its bitmaps; null without bitmaps.</param>
/// <param name="Bitmaps">The bitmaps it uses.</param>
/// <param name="Slice">First slice that it copies, for <c>partial</c>.</param>
/// <param name="Banks">Slices that it will bank.</param>
/// <param name="Drops">Slices that will go for that.</param>
/// <param name="Started">Where it began.</param>
public sealed record BackupState(
    string Job, string Sync, string? Mode, IReadOnlyList<string> Bitmaps, long? Slice, IReadOnlyList<SliceName> Banks,
    IReadOnlyList<SliceName> Drops, Position Started)
{
    /// <summary>Whether it banks, clears or resets when it succeeds; others only read.</summary>
    [JsonIgnore]
    public bool Changes => Changing(Mode);

    /// <summary>Whether its success forgets all slices of its bitmaps.</summary>
    [JsonIgnore]
    public bool Resets => Sync == "full" && Bitmaps.Count > 0;

    /// <summary>Whether a job of a mode banks, clears or resets.</summary>
    public static bool Changing(string? mode) => mode is BackupModes.OnSuccess or BackupModes.Always;

    /// <summary>The job that an event began.</summary>
    internal static BackupState Of(BackupStarted e, Position at) =>
        new(e.Job, e.Sync, e.Mode, e.Bitmaps, e.Slice, e.Banks, e.Drops, at);
}
