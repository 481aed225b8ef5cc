using System.Text.Json;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary><c>agent/volumes.json</c>: what the Agent offers when it starts alone. Replaced whole, never in
/// part.</summary>
/// <param name="path">The file.</param>
internal sealed class VolumeFile(string path)
{
    public IReadOnlyList<VolumeSpec> Read()
    {
        if (!File.Exists(path))
            return [];
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), ControlJson.Default.ListVolumeSpec) ?? [];
        }
        catch (JsonException damage)
        {
            throw new Bitmaps.CorruptionException(path, damage.BytePositionInLine ?? 0, damage.Message);
        }
    }

    public void Write(IEnumerable<VolumeSpec> volumes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var next = path + ".next";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            file.Write(JsonSerializer.SerializeToUtf8Bytes([.. volumes], ControlJson.Default.ListVolumeSpec));
            file.Flush(flushToDisk: true);
        }

        File.Move(next, path, overwrite: true);
    }
}
