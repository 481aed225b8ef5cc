using BitmapLedger.Bitmaps;
using BitmapLedger.Bitmaps.Codecs;
using BitmapLedger.WritePath.Backends;

namespace BitmapLedger.WritePath.Control;

/// <summary><c>run/bits/</c>: bits on their way between Server and Agent, each in a file that whoever reads it deletes.</summary>
/// <param name="directory">The directory.</param>
public sealed class BitsFiles(string directory)
{
    /// <summary>Puts bits down.</summary>
    /// <param name="encoded">As <see cref="BitmapCodec"/> writes them.</param>
    /// <returns>Name of the file.</returns>
    public string Put(byte[] encoded)
    {
        var name = $"{Guid.CreateVersion7():N}.bits";
        File.WriteAllBytes(Path.Combine(Directory.CreateDirectory(directory).FullName, name), encoded);
        return name;
    }

    /// <summary>Takes bits.</summary>
    /// <param name="name">Name of the file, which is gone then.</param>
    /// <returns>The caller disposes them.</returns>
    /// <exception cref="BackendException">The name is none.</exception>
    /// <exception cref="CorruptionException">They are not what was written.</exception>
    public NativeBitmap Take(string name)
    {
        var path = PathOf(name);
        var fault = BitmapCodec.TryRead(File.ReadAllBytes(path), out var bits);
        File.Delete(path);
        return bits ?? throw new CorruptionException(path, 0, fault.ToString());
    }

    /// <summary>Nobody wants the bits any more.</summary>
    public void Drop(string name) => File.Delete(PathOf(name));

    /// <summary>Nobody waits any more for what was on its way when an Agent or a Server ended.</summary>
    public void DropAll()
    {
        if (!Directory.Exists(directory))
            return;
        foreach (var file in Directory.EnumerateFiles(directory, "*.bits"))
            File.Delete(file);
    }

    private string PathOf(string name) => name == Path.GetFileName(name) && name is not ("." or ".." or "")
        ? Path.Combine(directory, name)
        : throw new BackendException("bad-argument", $"'{name}' is no file name in run/bits");
}
