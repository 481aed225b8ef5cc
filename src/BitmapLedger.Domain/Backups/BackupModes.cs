namespace BitmapLedger.Domain.Volumes;

/// <summary>What becomes of a bitmap when a backup ends, in QEMU's words.</summary>
public static class BackupModes
{
    /// <summary>It is emptied of what was copied if all was.</summary>
    public const string OnSuccess = "on-success";

    /// <summary>It stays.</summary>
    public const string Never = "never";

    /// <summary>It is emptied of what was copied, however little.</summary>
    public const string Always = "always";
}
