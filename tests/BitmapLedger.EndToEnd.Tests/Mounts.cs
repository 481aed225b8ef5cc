using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>Whether this machine lets a test mount file systems; one that must is skipped where it does not.</summary>
public static class Mounts
{
    public const string Why = "needs root that may mount, /dev/fuse and loop devices";

    /// <summary>Tried once.</summary>
    public static bool Work { get; } = Try();

    public const string WhyNoBoot = "needs root, namespaces, overlay and a cgroup2 that may be written, to boot systemd in";

    /// <summary>Whether a systemd can be booted; looked at once.</summary>
    public static bool Boot { get; } = Work
        && Tool.Run("sh", "-c", "test -w \"$(findmnt -nft cgroup2 -o TARGET)\" && unshare -pmuinC --fork true").ExitCode == 0
        && File.Exists("/lib/systemd/systemd");

    private static bool Try()
    {
        using var scratch = new ScratchDirectory();
        return File.Exists("/dev/fuse") && File.Exists("/dev/loop-control")
            && Tool.Run("mount", "-t", "tmpfs", "tmpfs", scratch.Path).ExitCode == 0
            && Tool.Run("umount", scratch.Path).ExitCode == 0;
    }
}
