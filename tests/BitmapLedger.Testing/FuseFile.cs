using System.Diagnostics;

namespace BitmapLedger.Testing;

/// <summary>An NBD export as a file, by nbdfuse: what a loop device can be made of. Needs root for what comes after.</summary>
public sealed class FuseFile : IDisposable
{
    private readonly Process _fuse;
    private readonly string _directory;

    private FuseFile(Process fuse, string directory)
    {
        _fuse = fuse;
        _directory = directory;
    }

    /// <summary>The file.</summary>
    public string Path => System.IO.Path.Combine(_directory, "nbd");

    /// <summary>Shows an export.</summary>
    /// <param name="uri">The export.</param>
    /// <param name="directory">Where; made if missing.</param>
    public static async Task<FuseFile> ShowAsync(string uri, string directory)
    {
        Directory.CreateDirectory(directory);
        var file = new FuseFile(Tool.Start("nbdfuse", [directory, uri]), directory);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (!File.Exists(file.Path))
            await Task.Delay(20, limit.Token);
        return file;
    }

    public void Dispose()
    {
        // What still holds it goes on with errors, and it goes with the last of them.
        Tool.Run("umount", "--lazy", _directory);
        if (!_fuse.WaitForExit(10_000))
            _fuse.Kill();
        _fuse.WaitForExit();
        _fuse.Dispose();
    }
}
