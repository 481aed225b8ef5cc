namespace BitmapLedger.WritePath.Tracking;

/// <summary>The machine that an Agent runs on.</summary>
/// <param name="Clock">Its wall clock.</param>
/// <param name="BootId">Which boot of it this is: another one than last time means that it went down.</param>
public sealed record Machine(TimeProvider Clock, string BootId)
{
    /// <summary>This one.</summary>
    public static Machine This() => new(TimeProvider.System, Journal.BootId.OfMachine());
}
