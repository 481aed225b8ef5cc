namespace BitmapLedger.Domain;

/// <summary>Why something happened to a bitmap or slice, as events say it.</summary>
public static class Causes
{
    /// <summary>A slice was banked by a backup.</summary>
    public const string Backup = "backup";

    /// <summary>A slice was banked by itself.</summary>
    public const string Manual = "manual";

    /// <summary>A bitmap was removed by a command.</summary>
    public const string Command = "command";

    /// <summary>A bitmap ended with the Agent.</summary>
    public const string Transient = "transient";
}
