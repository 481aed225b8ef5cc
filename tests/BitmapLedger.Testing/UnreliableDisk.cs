namespace BitmapLedger.Testing;

/// <summary>ext4 on an <see cref="UnreliableDevice"/>. Needs root, as loop devices do.</summary>
public sealed class UnreliableDisk : IDisposable
{
    private readonly ScratchDirectory _scratch = new();
    private readonly UnreliableDevice _device;
    private FuseFile? _file;
    private int _mounts;

    private UnreliableDisk(string? mountPoint, int megabytes)
    {
        Path = Directory.CreateDirectory(mountPoint ?? _scratch["m"]).FullName;
        _device = new(_scratch["device"], (long)megabytes << 20);
    }

    /// <summary>Where it is mounted.</summary>
    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>What the device refuses.</summary>
    public DeviceFaults Faults
    {
        get => _device.Faults;
        set => _device.Faults = value;
    }

    /// <summary>Makes one and mounts it.</summary>
    /// <param name="megabytes">Its size in MiB.</param>
    /// <param name="mountPoint">Where; null for a directory of its own.</param>
    /// <param name="isJournaled">Whether the file system keeps a journal: one that does turns read-only for good when that
    /// cannot be written, one that does not goes on.</param>
    public static async Task<UnreliableDisk> CreateAsync(int megabytes, string? mountPoint = null, bool isJournaled = true)
    {
        var disk = new UnreliableDisk(mountPoint, megabytes);
        try
        {
            string[] features = isJournaled ? [] : ["-O", "^has_journal"];
            disk._file = await disk.ShowAsync();
            // Blocks of a page: what cannot be read of a file is then a page of it, and not parts of two.
            Tool.Run("mkfs.ext4", ["-q", "-F", "-m", "0", "-b", "4096", "-E", "nodiscard", .. features, disk._file.Path]).Expect();
            disk.Mount();
            return disk;
        }
        catch
        {
            disk.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Power is gone. Whoever used the disk has been stopped and is ended in between, so that nobody sees it fail; nothing
    /// that was in memory reaches the device any more. The disk is mounted again when this returns.
    /// </summary>
    /// <param name="seed">Of what the device has kept.</param>
    /// <param name="end">Ends the stopped processes.</param>
    public async Task LosePowerAsync(int seed, Action end)
    {
        Faults = DeviceFaults.All;
        end();
        Unmount();
        _device.LosePower(new(seed));
        Faults = DeviceFaults.None;
        await MountAgainAsync();
    }

    /// <summary>As an administrator does after the fault is gone: unmounted, checked, mounted. Nobody uses it.</summary>
    public async Task RepairAsync()
    {
        Unmount();
        await MountAgainAsync();
    }

    /// <summary>Writes out what a file has in memory, without a flush: from now on the device may keep it.</summary>
    public static void WriteOut(string path) => Tool.Run("dd", $"if={path}", "iflag=nocache", "count=0", "status=none").Expect();

    /// <summary>The place of a file on the device cannot be read any more, also by those who have it in memory.</summary>
    /// <param name="path">The file.</param>
    /// <param name="offset">From where in it, a multiple of 4,096.</param>
    /// <param name="length">How many bytes, a multiple of 4,096.</param>
    public void MakeUnreadable(string path, long offset, long length)
    {
        Tool.Run("sync", "-f", Path).Expect();
        // filefrag -b4096 names logical and physical blocks of each extent.
        var line = Tool.Run("filefrag", "-b4096", "-v", path).Expect().Output.Split('\n')
            .Select(l => l.Split([':', '.', ' '], StringSplitOptions.RemoveEmptyEntries))
            .Single(w => w.Length > 5 && int.TryParse(w[0], out _)
                && long.Parse(w[1]) <= offset / 4096 && offset / 4096 <= long.Parse(w[2]));
        var at = (long.Parse(line[3]) - long.Parse(line[1])) * 4096 + offset;
        _device.MakeUnreadable(at, at + length);
        // Past the memory of the file below, which would read, and so refuse, the neighbours too.
        ForgetMemory(path);
    }

    /// <summary>A file that was written is read from the device from now on, and from no memory in between.</summary>
    public void ForgetMemory(string path)
    {
        Tool.Run("sync", "-f", Path).Expect();
        var loop = Tool.Run("findmnt", "--noheadings", "--output", "SOURCE", Path).Expect().Output.Trim();
        Tool.Run("losetup", "--direct-io=on", loop).Expect();
        WriteOut(path);
    }

    public void Dispose()
    {
        Faults = DeviceFaults.None;
        Unmount();
        _device.Dispose();
        _scratch.Dispose();
    }

    private async Task MountAgainAsync()
    {
        _file = await ShowAsync();
        // 1: repaired. A disk that has refused writes may leave more to decide than an unattended check does by itself.
        if (Tool.Run("e2fsck", "-f", "-y", _file.Path) is { ExitCode: > 1 } refusal)
            refusal.Expect();
        Mount();
    }

    private Task<FuseFile> ShowAsync() => FuseFile.ShowAsync(_device.Uri, _scratch[$"f{_mounts++}"]);

    private void Mount() => Tool.Run("mount", "-o", "loop,nodiscard", _file!.Path, Path).Expect();

    private void Unmount()
    {
        // Whoever was ended a moment ago may hold it yet; lazily it goes with the last of them.
        Tool.Run("umount", "--lazy", Path);
        _file?.Dispose();
        _file = null;
    }
}
