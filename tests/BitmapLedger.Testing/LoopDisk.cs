namespace BitmapLedger.Testing;

/// <summary>How a file system ends under those who use it.</summary>
public enum FailedFileSystem
{
    /// <summary>As after an error of the disk: from now on it can only be read.</summary>
    ReadOnly,

    /// <summary>Nothing goes any more, and what was in memory never reaches the disk.</summary>
    ShutDown,
}

/// <summary>A small disk of its own, ext4 on a loop device, that can be filled and can fail. Needs root, as loop devices
/// do.</summary>
public sealed class LoopDisk : IDisposable
{
    private readonly string _image;

    /// <summary>Makes the disk and mounts it.</summary>
    /// <param name="image">Path of its image; made.</param>
    /// <param name="mountPoint">Where it is mounted; made if missing.</param>
    /// <param name="megabytes">Its size in MiB.</param>
    public LoopDisk(string image, string mountPoint, int megabytes)
    {
        _image = image;
        Directory.CreateDirectory(mountPoint);
        Path = mountPoint;
        Tool.Run("truncate", "-s", $"{megabytes}M", image).Expect();
        Tool.Run("mkfs.ext4", "-q", "-F", "-m", "0", image).Expect();
        Tool.Run("mount", "-o", "loop", image, mountPoint).Expect();
    }

    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Takes all the room that is left.</summary>
    public void Fill() => Tool.Run("dd", "if=/dev/zero", $"of={this["ballast"]}", "bs=64k").Expect(1);

    /// <summary>Gives the room back.</summary>
    public void MakeRoom() => File.Delete(this["ballast"]);

    /// <summary>The file system fails.</summary>
    public void Fail(FailedFileSystem how = FailedFileSystem.ReadOnly)
    {
        // EXT4_IOC_SHUTDOWN, its journal not written out.
        const string shutDown = "import fcntl, os, struct, sys; fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        string[] command = how == FailedFileSystem.ReadOnly
            ? ["mount", "-o", "remount,abort", Path]
            : ["python3", "-c", shutDown, Path];
        Tool.Run(command[0], command[1..]).Expect();
    }

    /// <summary>As an administrator does after that: unmounted, checked, mounted. Nobody uses it.</summary>
    public void Repair()
    {
        Tool.Run("umount", Path).Expect();
        // 1: repaired.
        if (Tool.Run("e2fsck", "-f", "-y", _image) is { ExitCode: > 1 } refusal)
            refusal.Expect();
        Tool.Run("mount", "-o", "loop", _image, Path).Expect();
    }

    public void Dispose()
    {
        // A program that was ended a moment ago may hold it yet; lazily it goes with the last of them.
        Tool.Run("umount", "--lazy", Path);
        File.Delete(_image);
    }
}
