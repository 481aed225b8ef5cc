namespace BitmapLedger.Journal;

/// <summary>Which boot of the machine this is: what is in the kernel's memory lasts as long as it does.</summary>
public static class BootId
{
    /// <summary>The kernel's random id of this boot.</summary>
    public static string OfMachine() => File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
}
