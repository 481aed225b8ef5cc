using System.Text;
using System.Text.Json;
using BitmapLedger.Bitmaps;
using BitmapLedger.Contracts.Control;

namespace BitmapLedger.WritePath.Control;

/// <summary><c>agent/volumes.json</c>: what the Agent offers when it starts alone. Replaced whole, never in part. Layout:
/// FORMAT.md.</summary>
/// <param name="path">The file.</param>
internal sealed class VolumeFile(string path)
{
    private const int Version = 2;

    /// <summary>The volumes; none when there is no file.</summary>
    /// <exception cref="CorruptionException">The file is not what was written.</exception>
    /// <exception cref="FormatVersionException">A later program wrote it.</exception>
    public IReadOnlyList<VolumeSpec> Read()
    {
        if (!File.Exists(path))
            return [];
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(path));
            var root = document.RootElement;
            // Version 1 was the array alone.
            return root.ValueKind == JsonValueKind.Array ? Volumes(root) : ReadWhole(root);
        }
        catch (JsonException damage)
        {
            throw new CorruptionException(path, damage.BytePositionInLine ?? 0, damage.Message);
        }
    }

    public void Write(IEnumerable<VolumeSpec> volumes)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes([.. volumes], ControlJson.Default.ListVolumeSpec);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var next = path + ".next";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            file.Write(Encoding.UTF8.GetBytes($$"""{"version":{{Version}},"crc32c":{{Crc32C.Of(json)}},"volumes":"""));
            file.Write(json);
            file.Write("}"u8);
            file.Flush(flushToDisk: true);
        }

        File.Move(next, path, overwrite: true);
    }

    private static List<VolumeSpec> Volumes(JsonElement array) => array.Deserialize(ControlJson.Default.ListVolumeSpec) ?? [];

    private List<VolumeSpec> ReadWhole(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object || Number(root, "version") is not { } version)
            throw new CorruptionException(path, 0, "it names no version");
        if (version > Version)
            throw new FormatVersionException(path, version, Version);
        return root.TryGetProperty("volumes", out var volumes) && volumes.ValueKind == JsonValueKind.Array
            && Number(root, "crc32c") == Crc32C.Of(Encoding.UTF8.GetBytes(volumes.GetRawText()))
            ? Volumes(volumes)
            : throw new CorruptionException(path, 0, "the checksum of the volumes does not match");
    }

    private static long? Number(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : null;
}
