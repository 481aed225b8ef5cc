using System.Security.Cryptography;
using BitmapLedger.Testing;

namespace BitmapLedger.EndToEnd.Tests;

/// <summary>A volume with a real file system on it: nbdfuse shows it as a file, a loop device makes that a disk, ext4
/// lives on it.</summary>
internal sealed class MountedDisk : IDisposable
{
    private readonly FuseFile _file;
    private readonly string _mountPoint;

    private MountedDisk(FuseFile file, string mountPoint)
    {
        _file = file;
        _mountPoint = mountPoint;
    }

    /// <summary>Makes a file system on volume <c>fs</c> and mounts it.</summary>
    public static async Task<MountedDisk> CreateAsync(Ledger ledger)
    {
        var file = await FuseFile.ShowAsync(ledger.Export("fs"), ledger.Scratch("fuse"));
        Tool.Run("mkfs.ext4", "-q", "-F", file.Path).Expect();
        return Mount(ledger, file);
    }

    /// <summary>Mounts the file system that is on volume <c>fs</c>, whatever became of it.</summary>
    public static async Task<MountedDisk> AgainAsync(Ledger ledger) =>
        Mount(ledger, await FuseFile.ShowAsync(ledger.Export("fs"), ledger.Scratch("fuse-again")));

    /// <summary>Makes a folder of files and syncs; everything in it follows from the seed.</summary>
    public void Fill(string name, int seed)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_mountPoint, name)).FullName;
        foreach (var (file, data) in Files(seed))
            File.WriteAllBytes(Path.Combine(folder, file), data);
        Sync();
    }

    /// <summary>Waits until a folder is being filled.</summary>
    public async Task AppearsAsync(string name)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        var folder = Path.Combine(_mountPoint, name);
        while (!Directory.Exists(folder) || Directory.GetFiles(folder).Length < 5)
            await Task.Delay(5, limit.Token);
    }

    /// <summary>Digests of the files of a folder, by name.</summary>
    public SortedDictionary<string, string> Content(string name) => Digests(
        Directory.GetFiles(Path.Combine(_mountPoint, name)).Select(f => (Path.GetFileName(f), File.ReadAllBytes(f))));

    /// <summary>What <see cref="Content"/> has to be after a <see cref="Fill"/>.</summary>
    public static SortedDictionary<string, string> Expected(int seed) => Digests(Files(seed));

    public void Remove(string name)
    {
        Directory.Delete(Path.Combine(_mountPoint, name), recursive: true);
        Sync();
    }

    public void Dispose()
    {
        Tool.Run("umount", _mountPoint);
        _file.Dispose();
    }

    private static MountedDisk Mount(Ledger ledger, FuseFile file)
    {
        var mountPoint = Directory.CreateDirectory(ledger.Scratch("mnt")).FullName;
        Tool.Run("mount", "-o", "loop", file.Path, mountPoint).Expect();
        return new(file, mountPoint);
    }

    private static IEnumerable<(string Name, byte[] Data)> Files(int seed)
    {
        var random = new Random(seed);
        for (var file = 0; file < 60; file++)
        {
            var data = new byte[random.Next(1, 300_000)];
            random.NextBytes(data);
            yield return ($"{file}", data);
        }
    }

    private static SortedDictionary<string, string> Digests(IEnumerable<(string Name, byte[] Data)> files) =>
        new(files.ToDictionary(f => f.Name, f => Convert.ToHexString(SHA256.HashData(f.Data))), StringComparer.Ordinal);

    private void Sync() => Tool.Run("sync", "-f", _mountPoint).Expect();
}
